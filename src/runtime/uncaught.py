"""Uncaught errors that are printed as one line: Ctrl-C, and a package that is not installed."""

import sys
from types import TracebackType

EXITING = "SIGINT: exiting at once"
OWN = ("src", "benchmarks", "tests")


def print_in_one_line() -> None:
    """Replaces the traceback of these errors by a line; the exit status stays Python's."""
    usual = sys.excepthook

    def show(kind: type, error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            print(f"\n{EXITING}", file=sys.stderr, flush=True)
        elif line := missing_package(error):
            print(f"error: {line}", file=sys.stderr)
        else:
            usual(kind, error, trace)

    sys.excepthook = show


def missing_package(error: BaseException | None) -> str:
    """A line on a package that is not installed; "" for other errors."""
    name = error.name if isinstance(error, ModuleNotFoundError) else None
    if not name or "." in name or name in (*OWN, *sys.stdlib_module_names):
        return ""
    return (
        f"{sys.executable} has no package {name!r}; 'source .venv/bin/activate' chooses a Python "
        "that has all, once 'bash scripts/setup.sh' has made it"
    )
