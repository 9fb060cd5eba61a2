"""Names of splits: those of the configuration, and what they are called in other layouts."""

from src.config.configuration import Config
from src.config.keys import load_keys
from src.data.problems import WITHOUT_EVALUATION
from src.runtime.errors import InputError

# in place of COCO's names, which are the defaults
USUAL = {"train_split": ("train",), "val_split": ("val", "valid", "validation")}


def split_names(cfg: Config, *, training: bool) -> tuple[str, ...]:
    """The name of the split; where none was given, others that it often has, too."""
    key = "train_split" if training else "val_split"
    is_given = cfg[key] != load_keys()[key].default
    return (cfg[key],) if is_given else (cfg[key], *USUAL[key])


def needed(key: str, *, training: bool) -> InputError:
    """The error that a key has no value that says where a split is."""
    return InputError(f"--{key} is needed" + ("" if training else f", {WITHOUT_EVALUATION}"))
