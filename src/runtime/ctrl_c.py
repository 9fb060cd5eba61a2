"""What Ctrl-C does before a program has called `Interruption.watch`: while it is imported."""

import os
import signal
import sys
from types import FrameType, TracebackType

EXITING = "SIGINT: exiting at once"
received = False  # whether Ctrl-C was pressed


def end_without_traceback() -> None:
    """Makes an uncaught KeyboardInterrupt print one line; Python then ends as by SIGINT.

    So does another error after Ctrl-C that it led to, or an ImportError, into which NumPy turns it.
    """
    usual = sys.excepthook

    def show(kind: type, error: BaseException, trace: TracebackType | None) -> None:
        is_own = issubclass(kind, KeyboardInterrupt)
        is_lost = received and not is_own and led_to(error)
        if not is_lost and not is_own:
            usual(kind, error, trace)
            return
        print(f"\n{EXITING}", file=sys.stderr, flush=True)
        if is_lost:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGINT)

    sys.excepthook = show
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        note_ctrl_c()


def led_to(error: BaseException | None) -> bool:
    """Whether Ctrl-C, which was pressed, led to the error."""
    while error is not None:
        if isinstance(error, (ImportError, KeyboardInterrupt)):
            return True
        error = error.__cause__ or error.__context__
    return False


def note_ctrl_c() -> None:
    """Has Ctrl-C noted in `received`, besides raising KeyboardInterrupt as before."""

    def note(signum: int, frame: FrameType | None) -> None:
        global received
        received = True
        signal.default_int_handler(signum, frame)

    try:
        signal.signal(signal.SIGINT, note)
    except ValueError:  # not the main thread
        return
