"""The store: tasks and runs in a database. Values in, values out; peewee stays inside."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from keiji.errors import NoSuchRun, NoSuchTask, StoreUnavailable
from keiji.run import Run
from keiji.settings import Settings
from keiji.store import history, migrations
from keiji.store.engine import PATIENCE, Engine
from keiji.store.models import TASK, flags_of, plain, schedule_text, task_columns, task_of
from keiji.task import Task

__all__ = ["Store", "open_store"]


def open_store(settings: Settings, patience: float = PATIENCE) -> Store:
    """The store that the settings name; nothing is connected before it is first asked.

    `patience`: seconds to wait for another process's write.
    """
    return Store(settings, patience)


class Store:
    """This machine's tasks and their runs.

    Every method may raise `StoreUnavailable` (one line: what, where, what to do) or `StoreTooNew`. A
    store may be used by several threads: each has a connection of its own, and closes it.
    """

    def __init__(self, settings: Settings, patience: float = PATIENCE) -> None:
        self.settings = settings
        self._engine = Engine(settings, patience)
        self._host = ""

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._engine.close()

    @property
    def host(self) -> str:
        """The name under which this machine's rows are kept.

        A SQLite database belongs to one machine, so its tasks survive a change of the machine's name.
        """
        if not self._host:
            with self._connected().reading() as database:
                rows = list(TASK.select(TASK.host).limit(1).tuples().execute(database))
            self._host = rows[0][0] if rows else socket.gethostname()
        return self._host

    def migrate(self) -> int:
        """Make the database if there is none and bring it up to date; how many steps that took."""
        self._engine.create()
        return migrations.migrate(self._engine)

    # -- tasks ------------------------------------------------------------------------------

    def save_task(self, task: Task) -> Task:
        """Insert the task, or update the one of its slug; what is stored now.

        A task that is there keeps its `id`, `task_id` and `last_execution`; `host` is always this one.
        """
        said = {
            "name": task.name,
            "description": plain(task.description),
            "schedule": schedule_text(task.schedule),
            "build": task.build,
        }
        row = {**said, **flags_of(False, None), "host": self.host, "slug": task.slug, "task_id": task.task_id}
        with self._connected().writing() as database:
            changed = TASK.update(**said).where(self._this(task.slug)).execute(database)
            if not changed:
                TASK.insert(row).execute(database)
            return self._tasks(database, TASK.slug == task.slug)[0]

    def find_task(self, slug: str) -> Task | None:
        with self._connected().reading() as database:
            return next(iter(self._tasks(database, TASK.slug == slug)), None)

    def get_task(self, slug: str) -> Task:
        """The task of that slug; raises `NoSuchTask`."""
        task = self.find_task(slug)
        if task is None:
            raise NoSuchTask(f"there is no task {slug!r}; `keiji task list` shows all")
        return task

    def tasks(self) -> list[Task]:
        """This machine's tasks, by name."""
        with self._connected().reading() as database:
            return self._tasks(database)

    def delete_task(self, slug: str) -> bool:
        """Delete the task and its runs; whether there was one."""
        with self._connected().writing() as database:
            return bool(TASK.delete().where(self._this(slug)).execute(database))

    def mend(self, slug: str, disabled: bool, error: str | None) -> bool:
        """Have the record repeat what is true of a task; whether it said otherwise.

        `error`: None unless the task is held.
        """
        return bool(self.mend_all({slug: (disabled, error)}))

    def mend_all(self, truth: Mapping[str, tuple[bool, str | None]]) -> int:
        """`mend` for many: slug → (is disabled, error or None); how many differed.

        Costs one read as long as nothing differs.
        """
        flags = {slug: flags_of(disabled, error) for slug, (disabled, error) in truth.items()}
        columns = [TASK.slug, TASK.is_disabled, TASK.is_error, TASK.error_txt]
        with self._connected().reading() as database:
            rows = TASK.select(*columns).where(TASK.host == self.host).tuples().execute(database)
            stored = {slug: (bool(disabled), bool(error), text) for slug, disabled, error, text in rows}
        wrong = [
            slug for slug, said in stored.items() if slug in flags and tuple(flags[slug].values()) != said
        ]
        if wrong:
            with self._connected().writing() as database:
                for slug in wrong:
                    TASK.update(**flags[slug]).where(self._this(slug)).execute(database)
        return len(wrong)

    # -- runs -------------------------------------------------------------------------------

    def record_runs(self, runs: Iterable[Run]) -> int:
        """Record ended runs of this machine, in one transaction that is on the disk when this returns.

        Runs that are there already change nothing; those of unknown tasks are passed over. The number
        of new ones.
        """
        runs = list(runs)
        if not runs:
            return 0
        with self._connected().writing(durable=True) as database:
            return history.record(database, self.host, runs)

    def runs(self, slug: str, limit: int | None = None) -> list[Run]:
        """The task's runs, the newest first."""
        with self._connected().reading() as database:
            return history.newest(database, self.host, slug, limit)

    def last_runs(self) -> dict[str, Run]:
        """The newest run of each task that has one, by slug; firings that were skipped don't count."""
        with self._connected().reading() as database:
            return history.last_of_each(database, self.host)

    def find_run(self, slug: str, id_prefix: str) -> Run | None:
        """The task's run whose id begins so, or None; raises `NoSuchRun` where several do."""
        with self._connected().reading() as database:
            found = history.beginning_with(database, self.host, slug, id_prefix)
        if len(found) > 1:
            raise NoSuchRun(f"several runs of task {slug!r} begin with {id_prefix!r}: give more of the id")
        return found[0] if found else None

    def prune(self, keep_days: int, keep_count: int) -> int:
        """Delete runs older than `keep_days` and all but each task's newest `keep_count`; how many.

        Each task's newest run stays, however old. `keep_count` is at least 1.
        """
        before = datetime.now(timezone.utc) - timedelta(days=keep_days)
        return sum(self._prune(task.id, keep_count, before) for task in self.tasks() if task.id is not None)

    # -- parts ------------------------------------------------------------------------------

    def _prune(self, task: int, keep_count: int, before: datetime) -> int:
        with self._connected().reading() as database:
            kept = history.oldest_kept(database, task, keep_count, before)
        deleted = 0
        while kept:
            with self._connected().writing() as database:
                some = history.prune(database, task, kept)
            if not some:
                break
            deleted += some
        return deleted

    def _tasks(self, database: Any, *conditions: Any) -> list[Task]:
        query = TASK.select(*task_columns()).where(TASK.host == self.host, *conditions)
        return [task_of(row) for row in query.order_by(TASK.slug).tuples().execute(database)]

    def _this(self, slug: str) -> Any:
        return (TASK.host == self.host) & (TASK.slug == slug)

    def _connected(self) -> Engine:
        """The engine, whose database has been found to be of this program's version."""
        if self._engine.connect():
            try:
                with self._engine.reading() as database:
                    found = migrations.version(database)
                migrations.refuse_newer(found, self._engine.where)
                if found < migrations.LATEST:
                    command = "system update" if found else "init"
                    raise StoreUnavailable(
                        f"the database {self._engine.where} is older than this keiji: "
                        f"`keiji {command}` brings it up to date"
                    )
            except BaseException:
                self._engine.close()
                raise
        return self._engine
