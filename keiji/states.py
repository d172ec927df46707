"""What is true of a task now: put together from the unit files, the run files and the manager.

Nothing here is stored. The record in the database only repeats it, for other machines to see.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

from keiji import latches, running
from keiji.folders import Folders
from keiji.host import Host, Timer
from keiji.lifecycle import Life, State
from keiji.task import TaskState

__all__ = ["State", "observe", "run_under_way", "word"]

_BEGINNING = 2.0  # seconds in which a run that the manager has started has made its file
_LOOK = 0.01


def observe(folders: Folders, host: Host, slugs: Iterable[str]) -> dict[str, TaskState]:
    """The state of each task; asks the manager once for all of them."""
    slugs = list(slugs)
    timers = host.timers(slugs)
    return {slug: _observe(folders, host, slug, timers.get(slug, Timer())) for slug in slugs}


def word(state: TaskState) -> State:
    """The one word that says most about a task."""
    life = Life(
        is_built=True,
        is_enabled=not state.is_disabled,
        is_held=state.is_held,
        is_running=state.running is not None,
        is_queued=state.is_queued,
        # One whose timer does not wait though it should reads as if the system were stopped.
        is_started=state.is_armed,
    )
    return life.state


def run_under_way(folders: Folders, host: Host, slug: str) -> tuple[bool, bool]:
    """Whether a run goes on, and whether one is about to begin.

    One that the manager knows of and that has no file has yet to make it, or is all but gone, which is
    waited for: meanwhile the manager would take another start for the same.
    """
    give_up = time.monotonic() + _BEGINNING
    while True:
        is_active = host.ending(slug).is_active
        if running.running_entry(folders, slug):
            return True, False
        if not is_active:
            return False, False
        if time.monotonic() > give_up:
            return False, True
        time.sleep(_LOOK)


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
