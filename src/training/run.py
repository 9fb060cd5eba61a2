"""Training from Python: `train` of a notebook or program, which train.py is too."""

from contextlib import ExitStack
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

from src.config.command_line import python_config
from src.config.configuration import Config
from src.config.consistency import check_auto_batch, least_batch
from src.distributed.command import start_in_python
from src.distributed.launch import Launch, check_launch
from src.runtime.errors import InputError
from src.runtime.files import json_lines
from src.runtime.signals import Interrupted, Interruption

if TYPE_CHECKING:
    from src.data.run_data import RunData
    from src.prediction.detector import Detector
    from src.training.callbacks.loading import NamedCallback


@dataclass(frozen=True)
class Run:
    """What a training run has left in its folder; `Run("output")` opens an earlier one."""

    folder: Path

    def __post_init__(self):
        object.__setattr__(self, "folder", Path(self.folder))  # which may be given as a str

    @property
    def metrics(self) -> list[dict]:
        """The rows of metrics.jsonl: of steps, epochs and evaluations, by `kind`."""
        return json_lines(self.folder / "metrics.jsonl")

    @property
    def best(self) -> dict | None:
        """The evaluation with the best AP, as in `metrics`; None if there is none."""
        rows = [row for row in self.metrics if row["kind"] == "evaluation"]
        rows = [row for row in rows if row.get("AP") is not None]
        # the first of equal ones, as best.ckpt is
        return max(rows, key=itemgetter("AP"), default=None)

    @property
    def best_checkpoint(self) -> Path | None:
        """The weights of the best evaluation, if there is one."""
        return self._checkpoint("best.ckpt")

    @property
    def last_checkpoint(self) -> Path | None:
        """All that resuming needs; None before anything was saved."""
        return self._checkpoint("last.ckpt")

    def detector(self, **keys) -> "Detector":
        """The best detector, or else the last; `keys` as for `Detector.load`."""
        from src.prediction.detector import Detector

        path = self.best_checkpoint or self.last_checkpoint
        if path is None:
            raise InputError(f"{self.folder}: has no checkpoint in ckpt/; was the run stopped?")
        return Detector.load(path, **keys)

    def _checkpoint(self, name: str) -> Path | None:
        path = self.folder / "ckpt" / name
        return path if path.is_file() else None


def train(config: str | Path | None = None, **keys) -> Run:
    """Trains a detector as train.py does, in this process.

    Graphs are compiled anew by each call: `compile_cache` is off unless it is given.

    Args:
        config: recipe file.
        keys: of config/default.yaml, which override the recipe's.

    Raises:
        InputError: bad keys, files or data.
        RunError: the run cannot continue.
        KeyboardInterrupt: Ctrl-C or a notebook's stop button; once an update was made the run is
            saved before, unless it is pressed again.
    """
    from src.prediction.recorded import training_layer

    launch = start_in_python("train()", "train.py")
    cfg = python_config(config, keys, where="train()", beneath=training_layer)
    if "compile_cache" not in keys:  # its graphs are known by their number in the process
        cfg = cfg.replace(compile_cache=False)
    interruption = Interruption()
    with interruption.handled():
        try:
            return run_training(cfg, launch, interruption)
        except Interrupted as interrupted:
            raise KeyboardInterrupt(
                f"{interrupted}: Run({cfg.output_path!r}) has what is saved, and train() with the "
                "same keys and resume=True continues it"
            ) from None


def run_training(cfg: Config, launch: Launch, interruption: Interruption) -> Run:
    """Checks all input, trains, and logs how it went."""
    from src.training.run_folder import leaving_nothing

    folder = Path(cfg.output_path) / ("profile" if cfg.profile else "")
    with ExitStack() as held:
        if launch.is_main:
            held.enter_context(leaving_nothing(folder))
        data, callbacks = check_input(cfg, launch, folder, held)
        cfg = data.cfg

        # importing MindSpore takes seconds, so all input is checked before
        from src.distributed.join import build_device
        from src.training.advice import advice_on_outcome
        from src.training.profile import profile
        from src.training.run_log import RunLog
        from src.training.setup import prepare

        ranks = build_device(cfg, launch, interruption)
        log = held.enter_context(RunLog(folder, ranks.rank))
        for line in data.notes:
            log.line(line)
        trainer = prepare(cfg, data.splits, log, ranks, interruption, callbacks)
        ranks.on_main(lambda: data.write(folder))
        if cfg.profile:
            log.line(profile(trainer))
            return Run(folder)
        trainer.run()
        for line in (*advice_on_outcome(cfg, trainer), *trainer.outcome()):
            log.line(line)
    return Run(folder)


def check_input(
    cfg: Config, launch: Launch, folder: Path, held: ExitStack
) -> tuple["RunData", list["NamedCallback"]]:
    """Checks launch, files and data sets, quick checks first; `held` keeps a lock of the folder."""
    from src.data.dataset import find_source
    from src.data.loader import steps_per_epoch
    from src.data.run_data import read_run_data
    from src.data.short_side import check_training_resize
    from src.deploy.formats import format_of
    from src.runtime.cards import check_cards
    from src.runtime.files import check_file, make_output_folder
    from src.training.callbacks.loading import load_callbacks
    from src.training.run_folder import lock_folder

    check_launch(launch, cfg)
    check_auto_batch(cfg, launch.size)
    check_training_resize(cfg)
    if cfg.centerness:
        raise InputError(
            "centerness is true, which cannot be trained; --finetune of such a detector starts "
            "without it"
        )
    if launch.is_main:  # the other ranks get the weights from it
        check_file(cfg, "resume_from")
        if not cfg.resume:
            check_file(cfg, "finetune" if cfg.finetune else "pretrained")
            if format_of(source := cfg.finetune or cfg.pretrained):
                raise InputError(f"{source}: is an exported file; expected a checkpoint")
    roles = [True, False] if cfg.eval_interval and not cfg.profile else [True]
    for training in roles:
        find_source(cfg, training=training)
    check_cards(cfg.device_target)
    callbacks = load_callbacks(cfg.callbacks, is_main=launch.is_main)
    if launch.is_main:
        make_output_folder(str(folder))
        if lock := lock_folder(folder):
            held.enter_context(lock)
    data = read_run_data(cfg, roles)
    # raises InputError if there are fewer images than an update needs
    steps_per_epoch(
        data.splits[0],
        least_batch(cfg) * cfg.accumulate,
        ranks=launch.size,
        repeat_threshold=cfg.repeat_threshold,
    )
    return data, callbacks
