"""Errors that are printed as one line, without a traceback."""

EXIT_FAILED, EXIT_BAD_INPUT = 1, 2


class InputError(Exception):
    """Bad input; the message names the file, key or image, what was found and what to do."""

    exit_status = EXIT_BAD_INPUT


class RunError(Exception):
    """A run that cannot continue; the message says why, and where its last checkpoint is."""

    exit_status = EXIT_FAILED


class RankLost(RunError):
    """Another rank did not reach a sync in time."""


class NotFinite(RunError):
    """The network's outputs are nan or infinite."""


class WorkerDied(RunError):
    """A process that prepares batches was killed."""


class NotWritten(RunError):
    """One of several results cannot be written."""
