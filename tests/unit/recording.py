"""A home with a database for tests, and run files as a runner leaves them."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from keiji import settings
from keiji.folders import Folders
from keiji.run import Result, Run, Trigger
from keiji.runfile import Entry, render
from keiji.schedule import Schedule
from keiji.settings import Settings
from keiji.store import Store, migrations, open_store
from keiji.task import Task

ROOT = Path(__file__).parents[2]
NOON = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)
BOOT = "b00t"
EVERY_MINUTE = Schedule().run().every(1).minutes().build()


def new_home(base: Path) -> Folders:
    """The two folders as `init` makes them, without a database."""
    folders = Folders(base / "workspace", base / "home")
    folders.workspace.mkdir(parents=True)
    for path in folders.made():
        path.mkdir(parents=True, exist_ok=True)
    return folders


def settings_of(folders: Folders) -> Settings:
    """With the database that settings.conf names, if there is one."""
    return settings.load(folders)[0]


def connect(folders: Folders) -> Any:
    """The database as another program reaches it, without a transaction of its own."""
    url = settings_of(folders).db_url
    if url == settings.DEFAULT_URL:
        return sqlite3.connect(folders.database, isolation_level=None)
    import psycopg2

    connection = psycopg2.connect(url)
    connection.autocommit = True
    return connection


def query(folders: Folders, statement: str) -> list[tuple[Any, ...]]:
    """What another program is answered."""
    with closing(connect(folders)) as connection:
        cursor = connection.cursor()
        cursor.execute(statement)
        return cursor.fetchall() if cursor.description else []


@contextmanager
def locked(folders: Folders) -> Iterator[None]:
    """Another program is in the middle of a write of this machine's rows."""
    with closing(connect(folders)) as connection:
        if isinstance(connection, sqlite3.Connection):
            connection.execute("BEGIN IMMEDIATE")
        else:
            connection.cursor().execute("BEGIN; SELECT 1 FROM host FOR UPDATE")
        yield
        connection.cursor().execute("ROLLBACK")


@contextmanager
def without_database(folders: Folders) -> Iterator[None]:
    """There is none meanwhile."""
    if settings_of(folders).uses_sqlite:
        aside = folders.database.rename(folders.home / "aside")
        yield
        aside.rename(folders.database)
    else:
        ((name,),) = query(folders, "SELECT current_schema()")
        query(folders, f"ALTER SCHEMA {name} RENAME TO {name}_away")
        yield
        query(folders, f"ALTER SCHEMA {name}_away RENAME TO {name}")


def ready_store(folders: Folders, *slugs: str, schedule: Schedule = EVERY_MINUTE) -> Store:
    """A migrated store with a task for each slug."""
    store = open_store(settings_of(folders))
    store.migrate()
    for slug in slugs:
        store.save_task(a_task(slug, schedule))
    return store


def a_task(name: str = "ping", schedule: Schedule = EVERY_MINUTE, **changes: object) -> Task:
    task = Task(name, "a task", schedule, "a1b2", "elsewhere", task_id=f"id-of-{name}")
    return task.evolve(**changes)


def a_run(number: int = 1, task: str = "ping", **changes: object) -> Run:
    """The run of that number, which began `number` minutes after noon."""
    began = NOON + timedelta(minutes=number)
    said: dict[str, object] = {
        "id": f"{number:032x}",
        "task": task,
        "host": "elsewhere",
        "trigger": Trigger.TIMER,
        "began": began,
        "ended": began + timedelta(seconds=1),
        "result": Result.SUCCEEDED,
        **changes,
    }
    return Run(**said)  # type: ignore[arg-type]


def an_entry(number: int = 1, task: str = "ping", **changes: object) -> Entry:
    """What the run file of the run of that number says while it goes on."""
    began = NOON + timedelta(minutes=number)
    return Entry(f"{number:032x}", task, "a1b2", os.getpid(), BOOT, "timer", began).evolve(**changes)


def begin(folders: Folders, entry: Entry) -> Path:
    """Make the run file of a run that begins."""
    path = folders.running(entry.task)
    path.write_text(render(entry), encoding="utf-8")
    return path


def ended(entry: Entry, result: Result = Result.SUCCEEDED, **changes: object) -> Entry:
    """The entry with an end a second after its beginning."""
    return entry.evolve(ended=entry.began + timedelta(seconds=1), result=result, **changes)


def finish(folders: Folders, entry: Entry, result: Result = Result.SUCCEEDED) -> Path:
    """End a run as its runner does: append to its file, then rename it."""
    path = folders.running(entry.task)
    with path.open("a", encoding="utf-8") as file:
        file.write(render(ended(entry, result)).removeprefix(render(entry)))
    return path.rename(folders.done / entry.id)


def leave(folders: Folders, *numbers: int, task: str = "ping") -> None:
    """Runs that have ended and wait to be delivered."""
    for number in numbers:
        entry = an_entry(number, task)
        (folders.done / entry.id).write_text(render(ended(entry)), encoding="utf-8")


def add_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if this program were a release later, whose schema has one more table, `extra`."""
    number = migrations.LATEST + 1
    monkeypatch.setitem(migrations.MIGRATIONS, number, ("CREATE TABLE extra (id {serial})",))
    monkeypatch.setattr(migrations, "LATEST", number)


def start_python(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Another Python that can import keiji and these helpers, and runs `code`."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent)])}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(
        command, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def run_python(code: str, *arguments: object) -> str:
    """What `code` prints in another Python; it must succeed."""
    process = start_python(code, *arguments)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return output
