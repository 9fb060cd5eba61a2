"""What is said where Python lacks a package that the programs need."""

import sys
from types import TracebackType

OWN = ("src", "benchmarks", "tests")


def missing_package(error: BaseException | None) -> str:
    """A line on a package that is not installed; "" for other errors."""
    name = error.name if isinstance(error, ModuleNotFoundError) else None
    if not name or "." in name or name in (*OWN, *sys.stdlib_module_names):
        return ""
    return (
        f"{sys.executable} has no package {name!r}; 'source .venv/bin/activate' chooses a Python "
        "that has all, once 'bash scripts/setup.sh' has made it"
    )


def say_what_is_missing() -> None:
    """Makes an uncaught error of a missing package print one line."""
    usual = sys.excepthook

    def show(kind: type, error: BaseException, trace: TracebackType | None) -> None:
        if line := missing_package(error):
            print(f"error: {line}", file=sys.stderr)
        else:
            usual(kind, error, trace)

    sys.excepthook = show
