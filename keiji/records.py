"""The records of tasks, as whoever asks gets them: a command, or a caller of the bus.

Put together from the store, the run files and the manager; no directive is sent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from keiji import output, states
from keiji.delivering import zone_of
from keiji.errors import NoSuchTask, TaskNotBuilt
from keiji.host import Host
from keiji.settings import Settings
from keiji.task import Task, TaskState, slug_of

if TYPE_CHECKING:
    from keiji.store import Store

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


def records(host: Host, store: Store, name: str | None) -> list[dict[str, Any]]:
    """`as_dict` of one task or of all, each with its `state` in a word."""
    tasks = store.tasks() if name is None else [find(host, store, name)]
    return [
        {**as_dict(host, store.settings, task, state), "state": str(states.word(state))}
        for task, state in observe(host, store, tasks)
    ]


def find(host: Host, store: Store, name: str) -> Task:
    """The stored task of that name; raises `NoSuchTask`, or `TaskNotBuilt` for a mere folder."""
    slug = slug_of(name)
    task = store.find_task(slug)
    if task:
        return task
    if host.is_installed(slug):
        raise TaskNotBuilt(
            f"the database does not know task {name!r}, though its units are installed: "
            f"`keiji task build {slug}` records it again"
        )
    if (store.settings.folders.tasks / slug).is_dir():
        raise TaskNotBuilt(f"task {name!r} has not been built: run `keiji task build {slug}` first")
    raise NoSuchTask(f"there is no task {name!r}; `keiji task list` shows all")


def observe(host: Host, store: Store, tasks: Iterable[Task]) -> list[tuple[Task, TaskState]]:
    """Each task with its state; the stored flags are mended where they differ from what is true."""
    tasks = list(tasks)
    seen = states.observe(store.settings.folders, host, [task.slug for task in tasks])
    store.mend_all(
        {slug: (state.is_disabled, state.error if state.is_held else None) for slug, state in seen.items()}
    )
    return [(task, _with_next(host, store.settings, task, seen[task.slug])) for task in tasks]


def as_dict(host: Host, settings: Settings, task: Task, state: TaskState) -> dict[str, Any]:
    """The record's fields in snake case, with `host`; times in RFC 3339."""
    zone = settings.zone
    return {
        "id": task.id,
        "task_id": task.task_id,
        "name": task.name,
        "description": task.description,
        "schedule": str(task.schedule),
        "last_execution_time": output.moment(_whole(task.last_execution), zone),
        "next_execution_time": output.moment(state.next_execution, zone),
        "log_path": host.log_path(task.slug),
        "slug": task.slug,
        "type": task.schedule.kind,
        "executable": str(settings.folders.current(task.slug)),
        "is_running": state.is_armed,
        "is_queued": state.is_queued,
        "is_error": state.is_held,
        "is_disabled": state.is_disabled,
        "error_txt": state.error,
        "host": task.host,
    }


def _with_next(host: Host, settings: Settings, task: Task, state: TaskState) -> TaskState:
    """The schedule knows the next time where the manager has none (a run goes on) or fires too often."""
    if not state.is_armed or (state.next_execution is not None and not _may_be_polled(task)):
        return state
    schedule = task.schedule.in_zone(zone_of(host, settings, task))
    coming = host.coming(schedule, task.slug, datetime.now(timezone.utc), 1)
    return replace(state, next_execution=coming[0] if coming else None)


def _may_be_polled(task: Task) -> bool:
    """Whether the period divides no day; told without asking for each task of a long list."""
    seconds = getattr(task.schedule.form, "seconds", 0)
    return bool(seconds and 86400 % seconds)


def _whole(time: datetime | None) -> datetime | None:
    return time.replace(microsecond=0) if time else None
