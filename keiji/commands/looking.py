"""The commands that only look: `task get`, `history`, `next`; `task list` has a file of its own.

Reads are direct: the store, the run files and the manager are asked here, no directive is sent.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from keiji import output, states
from keiji.delivering import deliver, zone_of
from keiji.records import FIELDS, as_dict, find, observe
from keiji.run import Run
from keiji.session import Session
from keiji.task import Task, TaskState


def get(session: Session, name: str | None, as_json: bool) -> None:
    """Print the record of one task, or of all."""
    with session.store() as store:
        deliver(session.host, store)
        tasks = store.tasks() if name is None else [find(session.host, store, name)]
        seen = observe(session.host, store, tasks)
    if as_json:
        records = [as_dict(session.host, session.settings, task, state) for task, state in seen]
        output.dump(records if name is None else records[0])
        return
    for number, (task, state) in enumerate(seen):
        if number:
            output.say("")
        output.say(record(session, task, state))
    if not seen:
        output.note("no task has been built yet: `keiji task create NAME --desc TEXT`, then build it")


def history(session: Session, name: str, n: int, as_json: bool) -> None:
    """Print the last `n` runs of a task, the newest first."""
    with session.store() as store:
        deliver(session.host, store)
        task = find(session.host, store, name)
        runs = store.runs(task.slug, n)
    if as_json:
        output.dump([run_dict(session, run) for run in runs])
        return
    zone = session.settings.zone
    rows = [
        [
            run.id[:12],
            run.began.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S"),
            output.stretch(run.ended - run.began),
            _result(run),
            str(run.trigger),
            str(run.attempts),
        ]
        for run in runs
    ]
    if rows:
        output.table(["ID", "BEGAN", "TOOK", "RESULT", "WHY", "ATTEMPTS"], rows)
    else:
        output.note(f"{task.slug} has not run yet")


def next_times(session: Session, name: str, n: int, as_json: bool) -> None:
    """Print the next `n` times of a task, with their zone."""
    with session.store() as store:
        task = find(session.host, store, name)
    zone = zone_of(session.host, session.settings, task)
    schedule = task.schedule.in_zone(zone)
    after = datetime.now(session.settings.zone)
    times = session.host.coming(schedule, task.slug, after, n)
    state = states.observe(session.folders, session.host, [task.slug])[task.slug]
    if as_json:
        output.dump([output.moment(time) for time in times])
    for time in () if as_json else times:
        output.say(f"{output.moment(time)} {_zone_name(time)}")
    if schedule.kind == "Boot":
        output.note(f"{task.slug} runs at each boot")
    if zone != session.settings.time_zone:
        output.note(
            f"{task.slug} goes by {zone} until `keiji system update`, "
            f"though TIME_ZONE is {session.settings.time_zone}"
        )
    if not state.is_armed:
        output.note(f"{task.slug} is {states.word(state)}, not armed: nothing will run until that changes")


def record(session: Session, task: Task, state: TaskState) -> str:
    """The record as `task get` prints it, one field a line."""
    fields = as_dict(session.host, session.settings, task, state)
    lines = (f"{name}: {_shown(fields[key])}".rstrip() for name, key in FIELDS.items())
    return "\n".join(["TaskModel:", *lines])


def run_dict(session: Session, run: Run) -> dict[str, Any]:
    """A run's fields for JSON."""
    zone = session.settings.zone
    return {
        "id": run.id,
        "task": run.task,
        "trigger": run.trigger.value,
        "due": output.moment(run.due, zone),
        "began": _exact(run.began, zone),
        "ended": _exact(run.ended, zone),
        "result": run.result.value,
        "exit_status": run.exit_status,
        "signal": run.signal,
        "error": run.error,
        "attempts": run.attempts,
        "cpu_seconds": run.cpu_seconds,
        "peak_memory_bytes": run.peak_memory_bytes,
        "build": run.build,
        "host": run.host,
    }


def _result(run: Run) -> str:
    if run.signal:
        return f"{run.result} (signal {run.signal})"
    return f"{run.result} ({run.exit_status})" if run.exit_status else str(run.result)


def _exact(time: datetime, zone: Any) -> str:
    return time.astimezone(zone).isoformat(timespec="microseconds")


def _zone_name(time: datetime) -> str:
    return getattr(time.tzinfo, "key", None) or str(time.tzinfo)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "N/A" if value is None else output.one_line(str(value))
