"""What a look for faults finds: how bad it is, what is wrong and where, and the remedy."""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass


class Severity(str, enum.Enum):
    """How bad a finding is."""

    ERROR = "error"  # tasks don't run, what they say or how they ended is lost, or commands are refused
    WARNING = "warning"  # all works now, and something will or may go wrong
    NOTE = "note"  # somebody wanted it so, or it can't be told

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Finding:
    """One thing that is amiss. `remedy` names what to type in backquotes; `message` does not name the `task`.

    `check` is filled in by whoever makes the checks.
    """

    severity: Severity
    message: str
    remedy: str = ""
    task: str | None = None
    check: str = ""


@dataclass(frozen=True)
class Check:
    """One look for faults, by its name; it changes nothing and may raise whatever it meets.

    `needs`: checks that come before; where one of them found an error this one is not made.
    """

    name: str
    look: Callable[[], Iterable[Finding]]
    needs: tuple[str, ...] = ()


# What checks of a host may need.
FOLDERS = "folders"
MANAGER = "manager"
OWN_UNITS = "own-units"
UNIT_FOLDER = "unit-folder"


def error(message: str, remedy: str, task: str | None = None) -> Finding:
    return Finding(Severity.ERROR, message, remedy, task)


def warning(message: str, remedy: str, task: str | None = None) -> Finding:
    return Finding(Severity.WARNING, message, remedy, task)


def note(message: str, remedy: str = "", task: str | None = None) -> Finding:
    return Finding(Severity.NOTE, message, remedy, task)
