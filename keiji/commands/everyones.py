"""`keiji task list --all-hosts`: a line for each task of every machine that shares the database.

This machine's tasks are looked at as they are. Of the others there is what their records say, and nothing
is made up: whether they are armed, queued or running only their machine knows.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any, NamedTuple

from keiji import output, states
from keiji.commands.listing import last_of, next_of
from keiji.commands.looking import run_dict
from keiji.delivering import deliver
from keiji.due import firings_of
from keiji.records import as_dict, observe
from keiji.run import Run
from keiji.session import Session
from keiji.task import Task, TaskState

_HEADINGS = ["NAME", "HOST", "STATE", "SCHEDULE", "LAST", "NEXT"]
_UNKNOWN = ("is_running", "is_queued", "log_path", "executable")  # of another machine


class Seen(NamedTuple):
    """A task with its last run; `is_here`: it is this machine's."""

    task: Task
    state: TaskState
    last: Run | None
    is_here: bool


def list_everyones(session: Session, as_json: bool) -> None:
    """Print a line for each task, by name and machine."""
    now = datetime.now(timezone.utc)
    seen = _look(session, now)
    if as_json:
        output.dump([_entry(session, found) for found in seen])
        return
    rows = [
        [
            found.task.name,
            found.task.host,
            _word(found) or "-",
            str(found.task.schedule),
            last_of(found.last, now),
            next_of(session, found.state, now),
        ]
        for found in seen
    ]
    if not rows:
        output.note("no machine has built a task yet: keiji task create NAME --desc TEXT, then build it")
        return
    for line in output.columns(_HEADINGS, rows):
        print(line)
    if not all(found.is_here for found in seen):
        output.note(
            "of other machines' tasks only what is recorded is shown: held, disabled, or - for neither"
        )


def _look(session: Session, now: datetime) -> list[Seen]:
    with session.store() as store:
        deliver(session.host, store)
        here = {task.slug: state for task, state in observe(session.host, store, store.tasks())}
        seen = []
        for task, (disabled, held, error), last in store.everyones():
            is_here = task.host == store.host and task.slug in here
            state = TaskState(is_disabled=disabled, is_held=held, error=error)
            if not is_here and not disabled and not held:
                state = TaskState(next_execution=_coming(task, now))
            seen.append(Seen(task, here[task.slug] if is_here else state, last, is_here))
        return seen


def _coming(task: Task, now: datetime) -> datetime | None:
    """The next time as far as the schedule alone tells it.

    The zone that another machine gives a schedule without one is not recorded, and a short period that
    divides no day is counted from when it was armed.
    """
    seconds = getattr(task.schedule.form, "seconds", 0)
    if (task.schedule.needs_zone and task.schedule.policy.timezone is None) or (
        seconds and seconds < 3600 and 86400 % seconds
    ):
        return None
    firings = firings_of(task, "UTC")
    times = firings.schedule.next_times(now, 1, firings.phase)
    return times[0] if times else None


def _word(found: Seen) -> str | None:
    """The state, as far as it is known."""
    if found.is_here or found.state.is_held or found.state.is_disabled:
        return str(states.word(found.state))
    return None


def _entry(session: Session, found: Seen) -> dict[str, Any]:
    record = as_dict(session.host, session.settings, found.task, found.state)
    if not found.is_here:
        record.update(dict.fromkeys(_UNKNOWN))
    last = run_dict(session, found.last) if found.last else None
    return {**record, "state": _word(found), "last_run": last}
