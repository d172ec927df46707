"""What is true of a task now: put together from the unit files, the run files and the manager.

Nothing here is stored. The record in the database only repeats it, for other machines to see.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable

from keiji import latches, running
from keiji.folders import Folders
from keiji.host import Host, Timer
from keiji.task import TaskState


class State(str, enum.Enum):
    """The states of a task; a task can be held and disabled at once, and then reads as held."""

    CREATED = "created"  # a folder in the workspace, never built
    BUILT = "built"  # built and enabled, and the system is stopped
    ARMED = "armed"  # the manager waits for its next time
    QUEUED = "queued"  # a run was asked for and has not begun
    RUNNING = "running"
    DISABLED = "disabled"
    HELD = "held"

    def __str__(self) -> str:
        return self.value


def observe(folders: Folders, host: Host, slugs: Iterable[str]) -> dict[str, TaskState]:
    """The state of each task; asks the manager once for all of them."""
    slugs = list(slugs)
    timers = host.timers(slugs)
    return {slug: _observe(folders, host, slug, timers.get(slug, Timer())) for slug in slugs}


def word(state: TaskState) -> State:
    """The one word that says most about a task."""
    if state.running:
        return State.RUNNING
    if state.is_queued:
        return State.QUEUED
    if state.is_held:
        return State.HELD
    if state.is_disabled:
        return State.DISABLED
    return State.ARMED if state.is_armed else State.BUILT


def _observe(folders: Folders, host: Host, slug: str, timer: Timer) -> TaskState:
    entry = running.running_entry(folders, slug)
    latch = latches.latch(folders, slug)
    return TaskState(
        is_armed=timer.is_active and latch is None,
        is_queued=folders.requested(slug).exists(),
        is_held=latch is not None,
        is_disabled=not host.is_enabled(slug),
        running=entry.id if entry else None,
        next_execution=timer.next_elapse if timer.is_active and latch is None else None,
        error=latch.error if latch else "",
    )
