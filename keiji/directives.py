"""Directives: what can be asked of a task, and what comes back. `dispatcher` carries them out."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Verb(str, enum.Enum):
    RUN = "run"
    STOP = "stop"
    RESTART = "restart"
    ENABLE = "enable"
    DISABLE = "disable"
    RESOLVE = "resolve"
    DELETE = "delete"

    def __str__(self) -> str:
        return self.value


@dataclass(frozen=True)
class Directive:
    """A message to the dispatcher: do `verb` to the task called `task`.

    `inside`: the id of the run from inside which it is given, if any.
    """

    verb: Verb
    task: str
    inside: str = ""


@dataclass(frozen=True)
class Reply:
    """What happened, for a person; `run` is the id of the run that was begun or ended, if any."""

    message: str
    run: str = ""
