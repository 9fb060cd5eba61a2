"""What Ctrl-C does before a program has called `Interruption.watch`: while it is imported."""

import sys
from types import TracebackType

EXITING = "SIGINT: exiting at once"


def end_without_traceback() -> None:
    """Makes an uncaught KeyboardInterrupt print one line; Python then ends as by SIGINT."""
    usual = sys.excepthook

    def show(kind: type, error: BaseException, trace: TracebackType | None) -> None:
        if issubclass(kind, KeyboardInterrupt):
            print(f"\n{EXITING}", file=sys.stderr)
        else:
            usual(kind, error, trace)

    sys.excepthook = show
