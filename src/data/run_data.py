"""What a run of train.py knows of its data."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from src.config.configuration import Config
from src.data.annotations import Annotations
from src.data.classes import with_classes
from src.data.dataset import build_annotations
from src.data.hold_out import describe, listing
from src.runtime.files import write_atomically

HELD_OUT = "val_images.txt"  # in the run's folder


@dataclass
class RunData:
    """The splits of a run, and the configuration with their classes."""

    cfg: Config
    splits: list[Annotations]  # to train on and, if used, to evaluate on
    notes: list[str] = field(default_factory=list)  # for the log
    held_out: str = ""  # with `val_share`, the images that are evaluated, a line each

    def write(self, folder: Path) -> None:
        """Writes the images that are held out, if any are."""
        if self.held_out:
            write_atomically(folder / HELD_OUT, self.held_out)


def read_run_data(cfg: Config, roles: Sequence[bool]) -> RunData:
    """The data of a run; `roles` are True to train and, if used, False to evaluate."""
    notes: list[str] = []
    cfg = with_classes(cfg, notes.append)
    data = RunData(cfg, [build_annotations(cfg, training=role) for role in roles], notes)
    if cfg.val_share:
        trained, *others = data.splits
        evaluated = others[0] if others else build_annotations(cfg, training=False)
        line = describe(trained, evaluated, cfg.classes, cfg.val_share)
        notes.append(f"{line}; they are in {HELD_OUT}")
        data.held_out = listing(evaluated)
    return data
