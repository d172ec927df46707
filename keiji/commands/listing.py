"""`keiji task list`: a line for each task."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from keiji import output, states
from keiji.commands.looking import run_dict
from keiji.delivering import deliver
from keiji.records import as_dict, observe
from keiji.run import Run
from keiji.session import Session
from keiji.task import Task, TaskState


@dataclass(frozen=True)
class Listing:
    """The table's lines, none when there is no task; `notes` are for beside it."""

    lines: list[str]
    notes: list[str]


def list_tasks(session: Session, as_json: bool) -> None:
    """Print a line for each task."""
    if as_json:
        output.dump(entries(session))
        return
    listing = listed(session, datetime.now(timezone.utc))
    for note in listing.notes:
        output.note(note)
    for line in listing.lines:
        print(line)


def entries(session: Session) -> list[dict[str, Any]]:
    """Each task's record with its state and its last run, for JSON."""
    return [
        {
            **as_dict(session.host, session.settings, task, state),
            "state": str(states.word(state)),
            "last_run": run_dict(session, last) if last else None,
        }
        for task, state, last in _look(session)
    ]


def listed(session: Session, now: datetime) -> Listing:
    """The table of all tasks; how long ago something was is reckoned from `now`."""
    from keiji import workspace  # JSON needs none of it

    seen = _look(session)
    rows = [
        [
            task.name,
            str(states.word(state)),
            str(task.schedule),
            last_of(last, now),
            next_of(session, state, now),
        ]
        for task, state, last in seen
    ]
    built = {task.slug for task, _, _ in seen}
    unbuilt = [slug for slug in workspace.task_slugs(session.folders) if slug not in built]
    rows += [[slug, str(states.State.CREATED), "-", "-", "-"] for slug in unbuilt]
    lost = sorted(set(session.host.installed()) - built)
    notes = []
    if lost:
        notes.append(f"{', '.join(lost)}: installed, but not in the database: `keiji task build --all`")
    if not rows:
        return Listing([], [*notes, "there is no task yet: keiji task create NAME --desc TEXT"])
    return Listing(output.columns(["NAME", "STATE", "SCHEDULE", "LAST", "NEXT"], rows), notes)


def _look(session: Session) -> list[tuple[Task, TaskState, Run | None]]:
    """Each built task with its state and its last run, by name."""
    with session.store() as store:
        deliver(session.host, store)
        last = store.last_runs()
        return [
            (task, state, last.get(task.slug)) for task, state in observe(session.host, store, store.tasks())
        ]


def last_of(run: Run | None, now: datetime) -> str:
    """The table's word for a task's last run."""
    if run is None:
        return "never"
    took = output.stretch(run.ended - run.began)
    return f"{run.result} in {took}, {output.stretch(now - run.ended)} ago"


def next_of(session: Session, state: TaskState, now: datetime) -> str:
    """The table's word for a task's next time."""
    if state.next_execution is None:
        return "-"
    local = state.next_execution.astimezone(session.settings.zone)
    same_day = local.date() == now.astimezone(session.settings.zone).date()
    return local.strftime("%H:%M:%S" if same_day else "%Y-%m-%d %H:%M:%S")
