"""The tree of errors: message, exit status, name on the wire.

A leaf: it imports nothing, and is copied into workspaces beside `schedule`.
"""

from __future__ import annotations


class KeijiError(Exception):
    """keiji could not do this."""

    exit_status = 1

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.__doc__)

    @property
    def message(self) -> str:
        return str(self.args[0])

    @property
    def wire_name(self) -> str:
        """The error's name for any client of the bus, such as ``io.keiji.Error.NoSuchTask``."""
        return f"io.keiji.Error.{type(self).__name__}"


class UsageError(KeijiError):
    """The command line asks for something that does not fit together."""

    exit_status = 2


class NotInitialised(KeijiError):
    """There is no keiji here yet: run `keiji init` first."""


class InvalidName(KeijiError):
    """A task's name is 1-64 letters, digits, spaces, `_` or `-`, and begins with a letter or digit."""

    exit_status = 2


class NoSuchTask(KeijiError):
    """There is no such task."""


class NoSuchRun(KeijiError):
    """There is no such run, or more than one."""


class TaskExists(KeijiError):
    """A task of that name exists already; `--force` replaces its files."""


class TaskNotBuilt(KeijiError):
    """The task has not been built: run `keiji task build` first."""


class TaskHeld(KeijiError):
    """The task is held after a failure: see its log, then `keiji task resolve` it."""


class TaskBusy(KeijiError):
    """Another keiji command is changing this task."""


class InvalidSchedule(KeijiError):
    """The schedule cannot mean anything."""


class InvalidTask(KeijiError):
    """The task's folder cannot be built."""


class InvalidProject(KeijiError):
    """The workspace's pyproject.toml cannot be used."""


class InvalidSettings(KeijiError):
    """settings.conf has a value that is not allowed."""


class UnsupportedHere(KeijiError):
    """This operating system cannot do what the schedule asks."""


class HostFailed(KeijiError):
    """The operating system's manager refused or did not answer."""


class BusUnavailable(KeijiError):
    """The bus service cannot be reached."""


class StoreUnavailable(KeijiError):
    """The database cannot be reached."""


class StoreTooNew(KeijiError):
    """The database was written by a newer keiji: upgrade this one."""


class EnvironmentFailed(KeijiError):
    """The workspace's environment could not be made."""
