"""Checkpoints to go on from: checked when they are read, and found again."""

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Optional

import mindspore as ms
import numpy as np

from src.config.configuration import Config
from src.config.consistency import as_lists
from src.config.open_keys import settled
from src.runtime.errors import InputError
from src.training.checkpoints import CONFIG, STATE, numbered
from src.training.run_log import Place
from src.weights.checkpoint_file import RUN_PREFIX, has_checksum, load_entries, saved_config

# keys that may change between the sessions of a run: where things are and what the weights came
# from, how they are shown and stored, and what decides when the run ends, not what it computes
FREE_ON_RESUME = (
    "coco_root", "voc_root", "image_dir", "anno_path", "val_anno_path", "val_split", "num_workers",
    "num_classes", "pretrained", "finetune", "max_steps", "max_bad_steps", "eval_interval",
    "eval_start_epoch", "patience", "eval_batch_size", "checkpoint_path", "score_threshold",
    "protocol", "suppression", "nms_iou", "soft_sigma", "class_agnostic", "pre_nms_top_k",
    "max_detections", "tta_flip", "tta_scales", "drawn_score", "report", "pictures", "input",
    "output", "model", "file_format", "file_name", "nms", "export_batch", "fold_norms",
    "export_image", "output_path", "resume", "resume_from", "profile", "compile_cache",
    "conv_algorithm", "tf32", "loss_scale", "dynamic_loss_scale", "loss_scale_window", "device_id",
    "cpu_threads", "run_distribute", "device_num", "rank_timeout", "log_interval", "save_interval",
    "save_minutes", "keep_checkpoints",
)  # fmt: skip
BATCH = ("batch_size", "accumulate")  # may change with the number of ranks, see check_config


@dataclass(frozen=True)
class SavedRun:
    """A checkpoint's contents: parameters by name, the run's state and its configuration."""

    path: Path
    arrays: dict[str, np.ndarray]
    state: dict
    config: dict

    def without_arrays(self) -> "SavedRun":
        """What the ranks need that do not read the checkpoint themselves."""
        return replace(self, arrays={})

    def places(self) -> tuple[dict[str, Place], Place]:
        """The last records that the checkpoint contains; see `RunLog.rewind`."""
        state = self.state
        evaluated = state["evaluator"]["evaluated_step"]
        epochs, rest = divmod(evaluated, state["steps_per_epoch"])
        limits = {
            "evaluation": (epochs + 1, evaluated) if rest else (epochs, math.inf),
            "epoch": (state["ended_epochs"], math.inf),
        }
        return limits, (state["epoch"], state["step"])

    def check_config(self, cfg: Config, ranks: int) -> None:
        """InputError names the keys that may not change within a run and did.

        The number of ranks may, and the batch with it where an update has as many images as before.
        """
        cfg = settled(cfg, self.config)
        same_images = self.state["images_per_step"] == cfg.batch_size * cfg.accumulate * ranks
        free = (*FREE_ON_RESUME, *BATCH) if same_images else FREE_ON_RESUME
        differences = [
            f"{key}: {as_lists(self.config[key])} in the checkpoint, {as_lists(cfg[key])} now"
            for key in cfg
            if key in self.config and key not in free
            if as_lists(self.config[key]) != as_lists(cfg[key])
        ]
        if differences:
            raise InputError(
                "\n  ".join(
                    [
                        f"{self.path}: is of a run with another configuration",
                        *differences,
                        "resume with the run's own config.yaml, or start another with --finetune",
                    ]
                )
            )


def read_run(path: Path) -> SavedRun:
    """A checkpoint to go on from; InputError says what is wrong with it."""
    if path.is_file() and not has_checksum(path):
        raise InputError(f"{path}: has no checksum at its end: cut short, or not of a training run")
    entries = load_entries(str(path))
    if STATE not in entries or CONFIG not in entries:
        raise InputError(f"{path}: tells nothing of a run; it can only be used with --finetune")
    state = json.loads(entries[STATE])
    if "updates" not in state:
        raise InputError(f"{path}: holds weights alone; it can only be used with --finetune")
    if "images_per_step" not in state:
        raise InputError(f"{path}: is of an older version; it can only be used with --finetune")
    arrays = {
        name: entry.asnumpy()
        for name, entry in entries.items()
        if isinstance(entry, ms.Tensor) and not name.startswith(RUN_PREFIX)
    }
    return SavedRun(path, arrays, state, saved_config(entries, str(path)))


def find_run(folder: Path, cfg: Config, ranks: int = 1) -> Optional[SavedRun]:
    """The checkpoint to resume from, or None where the folder has none.

    Args:
        folder: of the run's checkpoints.
        cfg: names another than last.ckpt in `resume_from`, and must be the run's own.
        ranks: that go on with it.

    Raises:
        InputError: the checkpoint cannot be used; names the next older one that can.
    """
    last = folder / "last.ckpt"
    if not cfg.resume_from and not last.exists() and not numbered(folder):
        return None
    path = Path(cfg.resume_from) if cfg.resume_from else last
    if path.resolve().parent != folder.resolve():
        raise InputError(
            f"{path}: is of another folder; resume it where it lies, with "
            f"--output_path={path.resolve().parents[1]}"
        )
    try:
        return usable(path, cfg, ranks)
    except InputError as error:
        raise InputError(f"{error}\n  {offer(path, folder, cfg, ranks)}") from None


def usable(path: Path, cfg: Config, ranks: int) -> SavedRun:
    """A checkpoint that a run of the configuration can go on from; InputError if it is not."""
    saved = read_run(path)
    saved.check_config(cfg, ranks)
    return saved


def offer(refused: Path, folder: Path, cfg: Config, ranks: int) -> str:
    """What to do instead: the next older checkpoint that is usable, or last.ckpt."""
    numbers = [number for number, path in numbered(folder) if path.name == refused.name]
    older = [path for number, path in numbered(folder) if not numbers or number < numbers[0]]
    for path in [*older, folder / "last.ckpt"]:
        if path.resolve() == refused.resolve():
            continue
        try:
            state = usable(path, cfg, ranks).state
        except InputError:
            continue
        where = f"epoch {state['epoch']}, step {state['step']}"
        return f"{path} is sound ({where}): --resume=True --resume_from={path}"
    return "no other checkpoint of the run can be used; without --resume it starts anew"


def best_on_disk(path: Path, steps_per_epoch: int) -> Optional[dict]:
    """The evaluation ("AP", "epoch", "step") that best.ckpt is of; None where it is unreadable."""
    try:
        state = json.loads(load_entries(str(path))[STATE])
        step = renumbered(state["best"]["step"], state["steps_per_epoch"], steps_per_epoch)
        return {**state["best"], "step": step}
    except (InputError, KeyError):
        return None


def renumbered(step: int, before: int, now: int) -> int:
    """Number of the update where as much of the run is done, rounded down.

    Args:
        step: updates that were made; before, now: to an epoch, which differ with the ranks.
    """
    epochs, rest = divmod(step, before)
    return epochs * now + rest * now // before
