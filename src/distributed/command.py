"""How a command line starts and ends.

Each `main` imports what it needs itself: NumPy starts threads when it is imported, and
`Interruption.watch` must come before them.
"""

import errno
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from multiprocessing.util import get_temp_dir
from pathlib import Path
from typing import Any

from src.distributed.launch import Launch, find_launch, prepare_environment
from src.runtime.console import ConsoleLeft, open_console, say
from src.runtime.errors import EXIT_FAILED, InputError, RankLost, RunError
from src.runtime.plugins.commands import MINDSPORE_LOG_LEVEL
from src.runtime.signals import Interrupted, Interruption
from src.runtime.text import printable_lines
from src.runtime.uncaught import EXITING, missing_package

NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
STATUS_FILE = "MAIN_RANK_STATUS"  # variable with a path, since msrun ends with 1 for any status
SAVING, RESCUING, REPORTING = 60.0, 10.0, 3.0  # seconds; see `head_start`


def run_command(main: Callable[[], Any], interruption: Interruption | None = None) -> None:
    """Runs `main` as a command line: watches for signals, and exits with its status."""
    open_console()
    os.environ.setdefault("GLOG_v", MINDSPORE_LOG_LEVEL)  # read when MindSpore is imported
    launch = exit_with_status(find_launch)
    prepare_environment(launch)
    interruption = interruption or Interruption()
    interruption.is_quiet = not launch.is_main
    main = partial(interruption.watch().unless_ending, main)
    if launch.size == 1:
        exit_with_status(main)
    else:
        run_rank(main, launch)


def start_in_python(function: str, program: str) -> Launch:
    """Prepares this process for the `function` of `program`; InputError for one of several."""
    os.environ.setdefault("GLOG_v", MINDSPORE_LOG_LEVEL)  # read when MindSpore is imported
    launch = find_launch()
    if launch.size > 1:
        raise InputError(f"{function} runs as one process; start {program} with {launch.by}")
    return launch


def run_rank(main: Callable[[], Any], launch: Launch) -> None:
    """`exit_with_status` for one of several ranks.

    A rank that fails ends the job: it exits without waiting for the others, which MPI would do. An
    error of all ranks is printed by the main one alone.
    """
    try:
        exit_with_status(partial(after_main_rank, main, launch))
        return
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else EXIT_FAILED * bool(end.code)
    except BaseException:
        status = EXIT_FAILED
        with suppress(OSError):
            say(f"rank {launch.rank} of {launch.size} failed:")
            traceback.print_exc()
    with suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    if launch.is_main and (path := os.environ.get(STATUS_FILE)):
        with suppress(OSError):
            Path(path).write_text(f"{status}\n")
    with suppress(OSError):  # it is created if missing
        shutil.rmtree(get_temp_dir(), ignore_errors=True)  # of the data workers' sockets
    os._exit(status)


def after_main_rank(main: Callable[[], Any], launch: Launch) -> None:
    """Calls `main`; delays what it raises, so that the main rank can end the job first."""
    try:
        main()
    except BaseException as error:
        if not launch.is_main:
            time.sleep(head_start(error))
        raise


def head_start(error: BaseException) -> float:
    """Seconds that the main rank has to end the job before another rank does."""
    if isinstance(error, Interrupted):
        return SAVING
    # the main rank saves, unless it is the lost one
    return RESCUING if isinstance(error, RankLost) else REPORTING


def exit_with_status(main: Callable[[], Any]) -> Any:
    """What `main` returns; prints an error in one line, and raises SystemExit with its status.

    The status is 2 for bad input, 1 for a run that failed, 130 for Ctrl-C, 143 for SIGTERM.
    """
    try:
        return flushed(main)
    except (InputError, RunError) as error:
        say(printable_lines(f"error: {error}"))
        sys.exit(error.exit_status)
    except Interrupted as interrupted:
        sys.exit(interrupted.exit_status)
    except KeyboardInterrupt:  # in a thread that was started before `watch`
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # while the process ends
        say(f"\n{EXITING}")
        sys.exit(Interrupted(signal.SIGINT).exit_status)
    except ConsoleLeft as left:
        sys.exit(left.exit_status)
    except ModuleNotFoundError as error:
        if not (line := missing_package(error)):
            raise
        say(f"error: {line}")
        sys.exit(EXIT_FAILED)
    except OSError as error:
        if error.filename is None and error.errno not in NO_ROOM:  # not of a file of the user's
            raise
        say(printable_lines(f"error: {error.filename or 'a file'}: {error.strerror}"))
        sys.exit(EXIT_FAILED)


def flushed(main: Callable[[], Any]) -> Any:
    """What `main` returns, after what it printed is flushed."""
    try:
        result = main()
    except SystemExit:
        sys.stdout.flush()
        raise
    sys.stdout.flush()
    return result
