"""Loads the callbacks that `--callbacks` names, before minutes of work."""

import importlib
import importlib.util
import inspect
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from src.runtime.errors import InputError
from src.runtime.near_path import no_file
from src.runtime.text import suggestion
from src.training.callbacks.moments import MOMENTS

TRACKERS = {  # classes by the names that --callbacks knows
    "mlflow": "src.training.callbacks.trackers.mlflow:MLflow",
    "wandb": "src.training.callbacks.trackers.wandb:WandB",
    "swanlab": "src.training.callbacks.trackers.swanlab:SwanLab",
    "clearml": "src.training.callbacks.trackers.clearml:ClearML",
}
KEY = "--callbacks"


@dataclass
class NamedCallback:
    """A callback, and what the log calls it."""

    name: str
    callback: Any
    is_on: bool = True


def load_callbacks(names: Sequence[str], *, is_main: bool = True) -> list[NamedCallback]:
    """The callbacks of this rank, each made without arguments.

    Args:
        names: `module:Class`, `path/to/file.py:Class` or a name in TRACKERS.
        is_main: whether this is rank 0; else only those that ask for all ranks.

    Raises:
        InputError: a module, class or method is missing or fails.
    """
    found = []
    for name in names:
        kind = load_class(name)
        if is_main or getattr(kind, "all_ranks", False):
            found.append(NamedCallback(name, make(name, kind)))
    return found


def load_class(name: str) -> type:
    """The class that a name in `--callbacks` means."""
    module_name, _, class_name = TRACKERS.get(name, name).rpartition(":")
    if not module_name or not class_name:
        known = ", ".join(TRACKERS)
        raise InputError(
            f"{KEY}: {name!r} is neither module:Class, file.py:Class nor one of {known}"
            f"{suggestion(name, TRACKERS)}"
        )
    module = load_module(name, module_name)
    kind = getattr(module, class_name, None)
    if not isinstance(kind, type):
        classes = [key for key, value in vars(module).items() if isinstance(value, type)]
        hint = suggestion(class_name, classes)
        raise InputError(f"{KEY}: {name}: {module_name} has no class {class_name!r}{hint}")
    check_methods(name, kind)
    return kind


def load_module(name: str, module_name: str) -> ModuleType:
    """The module of that name, or in that file."""
    if module_name.endswith(".py") and not os.path.isfile(module_name):
        raise InputError(f"{KEY}: {no_file(module_name, '.py')}")
    try:
        if module_name.endswith(".py"):
            return load_file(Path(module_name).absolute())
        add_to_path(os.getcwd())
        return importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        hint = ""
        if isinstance(error, ModuleNotFoundError) and module_name.startswith(f"{error.name}"):
            hint = "; a file is given as path/to/file.py:Class"
        raise InputError(f"{KEY}: {name}: cannot be imported: {described(error)}{hint}") from error


def load_file(path: Path) -> ModuleType:
    """The file as a module of its stem's name, which may import the files beside it."""
    add_to_path(str(path.parent))
    loaded = sys.modules.get(path.stem)
    if loaded is not None and getattr(loaded, "__file__", None) == str(path):
        return loaded
    # another module may have this name
    name = path.stem if loaded is None else f"callbacks_in_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def add_to_path(folder: str) -> None:
    """Lets Python find the folder's modules, after all others."""
    if folder not in sys.path:
        sys.path.append(folder)


def check_methods(name: str, kind: type) -> None:
    """InputError unless the class has one of the five methods, and each takes one argument."""
    methods = {moment: getattr(kind, moment) for moment in MOMENTS if hasattr(kind, moment)}
    if not methods:
        raise InputError(f"{KEY}: {name}: has none of the methods {', '.join(MOMENTS)}")
    for moment, method in methods.items():
        try:
            inspect.signature(method).bind("self", "moment")
        except TypeError:
            found = inspect.signature(method)
            raise InputError(
                f"{KEY}: {name}: {moment}{found} must take self and one argument, the moment"
            ) from None
        except ValueError:  # a method that does not tell its arguments
            pass


def make(name: str, kind: type) -> Any:
    """The class's instance."""
    try:
        return kind()
    except InputError as error:
        raise InputError(f"{KEY}: {name}: {error}") from error
    except (Exception, SystemExit) as error:
        why = f"cannot be made without arguments: {described(error)}"
        raise InputError(f"{KEY}: {name}: {why}") from error


def described(error: BaseException) -> str:
    """The error on one line, and where it was raised."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}: {error.msg}"
    text = " ".join(str(error).split())
    trace = traceback.extract_tb(error.__traceback__)
    frames = [f for f in trace if f.filename != __file__ and "importlib" not in f.filename]
    where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}{': ' if text else ''}{text}{where}"
