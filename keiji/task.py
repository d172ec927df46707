"""A task: one function with one schedule, as a frozen value."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from keiji.errors import InvalidName

if TYPE_CHECKING:
    from keiji.schedule import Schedule

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _-]{0,63}")


def slug_of(name: str) -> str:
    """The name in lower case with ``-`` for spaces; raises `InvalidName`."""
    if not _NAME.fullmatch(name):
        rule = str(InvalidName.__doc__)
        shown = repr(name[:80])[:82]  # an escape may be ten times as long as what it stands for
        raise InvalidName(f"{shown} cannot be a task's name: {rule[0].lower()}{rule[1:]}")
    return name.lower().replace(" ", "-")


@dataclass(frozen=True)
class Task:
    """What is stored of a task: who it is and what was built.

    `build` is the hash of the current executable. What the OS and the latch know is in `TaskState`.
    """

    name: str
    description: str
    schedule: Schedule
    build: str
    host: str
    task_id: str
    id: int | None = None
    last_execution: datetime | None = None

    @property
    def slug(self) -> str:
        return slug_of(self.name)

    def evolve(self, **changes: object) -> Task:
        return replace(self, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True)
class TaskState:
    """What is true of a task now, as told by the OS's manager and the run files.

    `is_armed`: the manager will run it at `next_execution`. `is_queued`: a run was asked for and
    has not begun. `running`: the id of the run in progress. `error`: the latch's last lines.
    """

    is_armed: bool = False
    is_queued: bool = False
    is_held: bool = False
    is_disabled: bool = False
    running: str | None = None
    next_execution: datetime | None = None
    error: str = ""
