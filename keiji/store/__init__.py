"""The store: tasks and runs in a database. Values in, values out; peewee stays inside."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from keiji.errors import NoSuchRun, NoSuchTask
from keiji.run import Run
from keiji.settings import Settings
from keiji.store import migrations, queries
from keiji.store.engine import PATIENCE, Engine
from keiji.store.rows import flags_of, microseconds
from keiji.task import Task

__all__ = ["Store", "open_store"]

_ALL = 2**62


def open_store(settings: Settings, patience: float = PATIENCE) -> Store:
    """The store that the settings name; nothing is connected before it is first asked.

    `patience`: seconds to wait for another process's write.
    """
    return Store(settings, patience)


class Store:
    """This machine's tasks and their runs; used by the one thread that opened it.

    Every method may raise `StoreUnavailable` (one line: what, where, what to do) or `StoreTooNew`.
    """

    def __init__(self, settings: Settings, patience: float = PATIENCE) -> None:
        self.settings = settings
        self._engine = Engine(settings, patience)
        self._is_checked = False
        self._host = ""

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the database go; a later question opens it again."""
        self._is_checked = False
        self._engine.close()

    @property
    def host(self) -> str:
        """The name under which this machine's rows are kept.

        A SQLite database belongs to one machine, so its tasks survive a change of the machine's name.
        """
        if not self._host:
            rows = self._ask("SELECT host FROM task LIMIT 1")
            self._host = rows[0][0] if rows else os.uname().nodename
        return self._host

    def migrate(self) -> int:
        """Make the database if there is none and bring it up to date; how many steps that took."""
        self._engine.create()
        return migrations.migrate(self._engine)

    # -- tasks ------------------------------------------------------------------------------

    def check_writable(self) -> None:
        """Raise `StoreUnavailable` if a write would be refused now."""
        with self._engine.writing():
            pass

    def save_task(self, task: Task) -> Task:
        """Insert the task, or update the one of its slug; what is stored now.

        A task that is there keeps its `id`, `task_id` and `last_execution`; `host` is always this one.
        """
        models = self._models()
        with self._engine.writing() as database:
            models.save_task(database, self.host, task)
        return self.get_task(task.slug)

    def find_task(self, slug: str) -> Task | None:
        return queries.task(self._ask, self.host, slug)

    def get_task(self, slug: str) -> Task:
        """The task of that slug; raises `NoSuchTask`."""
        task = self.find_task(slug)
        if task is None:
            raise NoSuchTask(f"there is no task {slug!r}; `keiji task list` shows all")
        return task

    def tasks(self) -> list[Task]:
        """This machine's tasks, by name."""
        return queries.tasks(self._ask, self.host)

    def delete_task(self, slug: str) -> bool:
        """Delete the task and its runs; whether there was one."""
        models = self._models()
        with self._engine.writing() as database:
            return bool(models.delete_task(database, self.host, slug))

    def mend(self, slug: str, disabled: bool, error: str | None) -> bool:
        """Have the record repeat what is true of a task; whether it said otherwise.

        `error`: None unless the task is held.
        """
        return bool(self.mend_all({slug: (disabled, error)}))

    def mend_all(self, truth: Mapping[str, tuple[bool, str | None]]) -> int:
        """`mend` for many: slug → (is disabled, error or None); how many said otherwise.

        Costs one read as long as none does.
        """
        stored = queries.flags(self._ask, self.host)
        flags = {slug: flags_of(*said) for slug, said in truth.items() if slug in stored}
        wrong = {slug: said for slug, said in flags.items() if said != stored[slug]}
        if wrong:
            models = self._models()
            with self._engine.writing() as database:
                for slug, said in wrong.items():
                    models.flag_task(database, self.host, slug, said)
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
        models = self._models()
        with self._engine.writing(durable=True) as database:
            return int(models.record(database, self.host, runs))

    def runs(self, slug: str, limit: int | None = None) -> list[Run]:
        """The task's runs, the newest first."""
        return queries.runs(self._ask, self.host, slug, _ALL if limit is None else limit)

    def last_runs(self) -> dict[str, Run]:
        """The newest run of each task that has one, by slug; firings that were skipped don't count."""
        return {run.task: run for run in queries.last_runs(self._ask, self.host)}

    def find_run(self, slug: str, id_prefix: str) -> Run | None:
        """The task's run whose id begins so, or None; raises `NoSuchRun` where several do."""
        found = queries.runs_beginning(self._ask, self.host, slug, id_prefix)
        if len(found) > 1:
            raise NoSuchRun(f"several runs of task {slug!r} begin with {id_prefix!r}: give more of the id")
        return found[0] if found else None

    def run_of_id(self, run: str) -> Run | None:
        """The run of exactly that id, whatever its task, or None."""
        return queries.run_of_id(self._ask, self.host, run)

    def prune(self, keep_days: int, keep_count: int) -> int:
        """Delete runs older than `keep_days` and all but each task's newest `keep_count`; how many.

        Each task's newest run stays, however old. `keep_count` is at least 1.
        """
        before = microseconds(datetime.now(timezone.utc) - timedelta(days=keep_days))
        deleted = 0
        for task in queries.prunable(self._ask, self.host, keep_count, before):
            since, newest = queries.kept(self._ask, task, keep_count, before)
            while some := self._prune(task, since, newest):
                deleted += some
        return deleted

    # -- parts ------------------------------------------------------------------------------

    def _prune(self, task: int, since: int, newest: int) -> int:
        models = self._models()
        with self._engine.writing() as database:
            return int(models.prune(database, task, since, newest))

    def _ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        self._check()
        return self._engine.ask(query, *values)

    def _models(self) -> Any:
        """What writes; loaded late, because it loads peewee."""
        self._check()
        from keiji.store import models

        return models

    def _check(self) -> None:
        """Find out, once a connection, whether the database is of this program's version."""
        if not self._is_checked:
            migrations.check(self._engine)
            self._is_checked = True
