"""Errors that are told in a line rather than a traceback."""

EXIT_FAILED, EXIT_BAD_INPUT = 1, 2


class InputError(Exception):
    """Bad input: the message names the file, key or image, what was found and what to do."""

    exit_status = EXIT_BAD_INPUT


class RunError(Exception):
    """A run that cannot go on: the message says why, and where its last checkpoint is."""

    exit_status = EXIT_FAILED


class RankLost(RunError):
    """Another rank did not come to where all were to meet."""


class NotFinite(RunError):
    """A network whose outputs are nan or infinite."""


class WorkerDied(RunError):
    """A process that prepares batches was killed."""
