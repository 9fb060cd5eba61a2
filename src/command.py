"""How a command line starts and ends.

A command line imports what it needs within its `main`: NumPy starts threads when it is imported,
and `Interruption.watch` comes before them.
"""

import errno
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, Optional

from src.errors import EXIT_FAILED, InputError, RunError
from src.interruption import Interrupted, Interruption

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
MINDSPORE_LOG_LEVEL = "3"  # errors alone: its warnings are about choices this project has made


def run_command(main: Callable[[], Any], interruption: Optional[Interruption] = None) -> None:
    """Calls `main` as a command line: watches for signals, and leaves with its status."""
    os.environ.setdefault("GLOG_v", MINDSPORE_LOG_LEVEL)  # read when MindSpore is imported
    (interruption or Interruption()).watch()
    end_with_status(main)


def end_with_status(main: Callable[[], Any]) -> None:
    """Calls `main`; SystemExit with the status of what it raises, which is told in a line.

    An error the user can mend is status 2, a run that cannot go on status 1, Ctrl-C and SIGTERM are
    130 and 143.
    """
    try:
        main()
    except (InputError, RunError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
    except Interrupted as interrupted:
        sys.exit(interrupted.exit_status)
    except KeyboardInterrupt:  # by way of a thread that was started before `watch`
        print("SIGINT: leaving at once", file=sys.stderr)
        sys.exit(Interrupted(signal.SIGINT).exit_status)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        print(f"error: {error.filename or 'a file'}: {error.strerror}", file=sys.stderr)
        sys.exit(EXIT_FAILED)
