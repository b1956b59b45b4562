"""Every error that a user can meet, each with the exit code of the command line.

    SdgError                 1
    ├── UsageError           2   a flag or a setting is wrong
    ├── InputError           3   an input cannot be used
    └── RunError             4   a run failed; its answers are kept
        ├── EngineDown       4   the model cannot be reached
        ├── RowsLost         4   a stage broke the conservation of rows
        └── Stopped          5   a run ended before its end, with what it had

A message is one line: what is wrong, the value, and how to mend it.
"""

import re


class SdgError(Exception):
    """Base of all errors that are explained to the user rather than traced."""

    exit_code = 1


class UsageError(SdgError):
    """A flag or a setting is wrong."""

    exit_code = 2


class InputError(SdgError):
    """An input cannot be read or does not hold what was asked for."""

    exit_code = 3


class RunError(SdgError):
    """A run failed after it had begun."""

    exit_code = 4


class EngineDown(RunError):
    """The model's server cannot be reached, or refuses every request."""


class RowsLost(RunError):
    """A stage's outputs and rejects do not add up to its inputs."""


class Stopped(RunError):
    """A run was stopped by a limit or a signal; what it had by then is published."""

    exit_code = 5


_EXPLAINED = {error.__name__: error for error in (InputError, RunError, EngineDown, RowsLost)}
_RAISED = re.compile(rf"^(?:\w+\.)*({'|'.join(_EXPLAINED)}): (.+)$", re.MULTILINE)


def explained(error: BaseException) -> SdgError | None:
    """The error of ours inside `error`, if there is one.

    A runner hands a worker's exception on as text: the type is in the traceback's last lines
    and nowhere else.
    """
    if isinstance(error, SdgError):
        return type(error)(without_step(str(error)))
    raised = _RAISED.findall(str(error))
    if not raised:
        return None
    name, message = raised[-1]
    return _EXPLAINED[name](without_step(message))


def without_step(message: str) -> str:
    """`message` without the name of the step that Beam appends: it explains nothing to a user."""
    return re.sub(r" \[while running '.*$", "", message, flags=re.DOTALL)
