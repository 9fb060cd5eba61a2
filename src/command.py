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
    """Calls `main` and leaves with its status.

    0 means done. An error the user can mend ends in one line and status 2, a run that cannot go on
    in one line and status 1, Ctrl-C and SIGTERM in status 130 and 143.
    """
    os.environ.setdefault("GLOG_v", MINDSPORE_LOG_LEVEL)  # read when MindSpore is imported
    try:
        (interruption or Interruption()).watch()
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
        print(f"error: {error.filename or 'writing'}: {error.strerror}", file=sys.stderr)
        sys.exit(EXIT_FAILED)
