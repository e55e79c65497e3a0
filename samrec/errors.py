"""Every error `samrec` raises on purpose.

Misuse and unusable input leave the command line with exit code 2 and one line. A run that diverged is an outcome with
evidence: its record is kept first, then `Diverged` is raised, and the exit code is 3.
"""


class SamrecError(Exception):
    """Base class; its message says in one line what was expected and what came."""

    exit_code = 2


class ConfigError(SamrecError, ValueError):
    """An option or a configuration outside what it may be."""


class DataError(SamrecError):
    """Interactions that cannot be found, read or used; the message names the line where there is one."""


class RunError(SamrecError):
    """A run folder that is missing, unfinished, broken, or belongs to other data than asked for."""


class NotWritable(RunError):
    """A folder or a disk that may be read and not written."""


class CheckpointError(SamrecError):
    """Weights that do not fit the model: a missing or extra name, another shape, NaN or infinity, another format."""


class ProtocolMismatch(SamrecError):
    """Two results that may not stand in one table: other data, split, seen-item rule, tie rule or candidates."""


class NonFiniteScores(SamrecError):
    """A model gave NaN or an infinity as the score of a target or of a candidate."""


class Diverged(SamrecError):
    """Training left the finite numbers; an outcome, raised after its record was kept."""

    exit_code = 3
