"""The commands that only look: `task get`, `history`, `next`; `task list` has a file of its own.

Reads are direct: the store, the run files and the manager are asked here, no directive is sent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from keiji import output, states
from keiji.commands.delivering import deliver
from keiji.errors import NoSuchTask, TaskNotBuilt
from keiji.run import Run
from keiji.session import Session
from keiji.task import Task, TaskState, slug_of

if TYPE_CHECKING:
    from keiji.store import Store


def get(session: Session, name: str | None, as_json: bool) -> None:
    """Print the record of one task, or of all."""
    with session.store() as store:
        deliver(session, store)
        tasks = store.tasks() if name is None else [find(session, store, name)]
        seen = observe(session, store, tasks)
    if as_json:
        records = [as_dict(session, task, state) for task, state in seen]
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
        deliver(session, store)
        task = find(session, store, name)
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
        task = find(session, store, name)
    schedule = task.schedule.in_zone(session.settings.time_zone)
    after = datetime.now(session.settings.zone)
    times = session.host.coming(schedule, task.slug, after, n)
    state = states.observe(session.folders, session.host, [task.slug])[task.slug]
    if as_json:
        output.dump([output.moment(time) for time in times])
    for time in () if as_json else times:
        output.say(f"{output.moment(time)} {_zone_name(time)}")
    if schedule.kind == "Boot":
        output.note(f"{task.slug} runs at each boot")
    if not state.is_armed:
        output.note(f"{task.slug} is {states.word(state)}, not armed: nothing will run until that changes")


def find(session: Session, store: Store, name: str) -> Task:
    """The stored task of that name; raises `NoSuchTask`, or `TaskNotBuilt` for a mere folder."""
    slug = slug_of(name)
    task = store.find_task(slug)
    if task:
        return task
    if session.host.is_installed(slug):
        raise TaskNotBuilt(
            f"the database does not know task {name!r}, though its units are installed: "
            f"`keiji task build {slug}` records it again"
        )
    if (session.folders.tasks / slug).is_dir():
        raise TaskNotBuilt(f"task {name!r} has not been built: run `keiji task build {slug}` first")
    raise NoSuchTask(f"there is no task {name!r}; `keiji task list` shows all")


# The record's fields as people and D-Bus clients read them, and as JSON has them.
FIELDS = {
    "ID": "id",
    "TaskId": "task_id",
    "Name": "name",
    "Description": "description",
    "Schedule": "schedule",
    "LastExecutionTime": "last_execution_time",
    "NextExecutionTime": "next_execution_time",
    "LogPath": "log_path",
    "Slug": "slug",
    "Type": "type",
    "Executable": "executable",
    "IsRunning": "is_running",
    "IsQueued": "is_queued",
    "IsError": "is_error",
    "IsDisabled": "is_disabled",
    "ErrorTxt": "error_txt",
}


def record(session: Session, task: Task, state: TaskState) -> str:
    """The record as `task get` prints it, one field a line."""
    fields = as_dict(session, task, state)
    lines = (f"{name}: {_shown(fields[key])}".rstrip() for name, key in FIELDS.items())
    return "\n".join(["TaskModel:", *lines])


def records(session: Session, store: Store, name: str | None) -> list[dict[str, Any]]:
    """`as_dict` of one task or of all, each with its `state` in a word."""
    tasks = store.tasks() if name is None else [find(session, store, name)]
    return [
        {**as_dict(session, task, state), "state": str(states.word(state))}
        for task, state in observe(session, store, tasks)
    ]


def as_dict(session: Session, task: Task, state: TaskState) -> dict[str, Any]:
    """The record's fields in snake case, with `host`; times in RFC 3339."""
    zone = session.settings.zone
    return {
        "id": task.id,
        "task_id": task.task_id,
        "name": task.name,
        "description": task.description,
        "schedule": str(task.schedule),
        "last_execution_time": output.moment(_whole(task.last_execution), zone),
        "next_execution_time": output.moment(state.next_execution, zone),
        "log_path": session.host.log_path(task.slug),
        "slug": task.slug,
        "type": task.schedule.kind,
        "executable": str(session.folders.current(task.slug)),
        "is_running": state.is_armed,
        "is_queued": state.is_queued,
        "is_error": state.is_held,
        "is_disabled": state.is_disabled,
        "error_txt": state.error,
        "host": task.host,
    }


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


def observe(session: Session, store: Store, tasks: Iterable[Task]) -> list[tuple[Task, TaskState]]:
    """Each task with its state; the stored flags are mended where they differ from what is true."""
    tasks = list(tasks)
    seen = states.observe(session.folders, session.host, [task.slug for task in tasks])
    store.mend_all(
        {slug: (state.is_disabled, state.error if state.is_held else None) for slug, state in seen.items()}
    )
    return [(task, _with_next(session, task, seen[task.slug])) for task in tasks]


def _with_next(session: Session, task: Task, state: TaskState) -> TaskState:
    """The schedule knows the next time where the manager has none (a run goes on) or fires too often."""
    if not state.is_armed or (state.next_execution is not None and not _may_be_polled(task)):
        return state
    schedule = task.schedule.in_zone(session.settings.time_zone)
    coming = session.host.coming(schedule, task.slug, datetime.now(timezone.utc), 1)
    return replace(state, next_execution=coming[0] if coming else None)


def _may_be_polled(task: Task) -> bool:
    """Whether the period divides no day; told without asking for each task of a long list."""
    seconds = getattr(task.schedule.form, "seconds", 0)
    return bool(seconds and 86400 % seconds)


def _result(run: Run) -> str:
    if run.signal:
        return f"{run.result} (signal {run.signal})"
    return f"{run.result} ({run.exit_status})" if run.exit_status else str(run.result)


def _whole(time: datetime | None) -> datetime | None:
    return time.replace(microsecond=0) if time else None


def _exact(time: datetime, zone: Any) -> str:
    return time.astimezone(zone).isoformat(timespec="microseconds")


def _zone_name(time: datetime) -> str:
    return getattr(time.tzinfo, "key", None) or str(time.tzinfo)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "N/A" if value is None else output.one_line(str(value))
