"""The store: tasks and runs in a database. Values in, values out; peewee stays inside."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta, timezone
from typing import Any, TypeVar

from keiji.errors import NoSuchRun, NoSuchTask
from keiji.run import Run
from keiji.settings import Settings
from keiji.store import hosts, migrations, queries
from keiji.store.engine import PATIENCE, Conflict, engine_of
from keiji.store.rows import flags_of, microseconds
from keiji.task import Task

__all__ = ["Store", "open_store"]

_ALL = 2**62
_TRIES = 5

_T = TypeVar("_T")


def open_store(settings: Settings, patience: float = PATIENCE, may_migrate: bool = True) -> Store:
    """The store that the settings name; nothing is connected before it is first asked.

    `patience`: seconds to wait for another process's write. `may_migrate`: a database that an older keiji
    wrote is brought up to date when it is first asked; else that is refused.
    """
    return Store(settings, patience, may_migrate)


class Store:
    """This machine's tasks and their runs; used by the one thread that opened it.

    Every method may raise `StoreUnavailable` (one line: what, where, what to do) or `StoreTooNew`.
    """

    def __init__(self, settings: Settings, patience: float = PATIENCE, may_migrate: bool = True) -> None:
        self.settings = settings
        self._engine = engine_of(settings, patience)
        self._may_migrate = may_migrate
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
        """The name under which this machine's rows are kept; it survives a change of the machine's name."""
        if not self._host:
            self._check()
            self._host = hosts.name_of(self._engine, self.settings.folders)
        return self._host

    @property
    def where(self) -> str:
        """The database's name for people."""
        return self._engine.where

    def migrate(self) -> int:
        """Make the database if there is none and bring it up to date; how many steps that took.

        Where it is shared, the machine's name in it is taken.
        """
        self._engine.create()
        steps = migrations.migrate(self._engine)
        if self._engine.is_shared:
            self.check_writable()
        return steps

    # -- tasks ------------------------------------------------------------------------------

    def check_writable(self) -> None:
        """Raise `StoreUnavailable` if a write would be refused now."""
        self._write(lambda models, database, host: None)

    def save_task(self, task: Task) -> Task:
        """Insert the task, or update the one of its slug; what is stored now.

        A task that is there keeps its `id`, `task_id` and `last_execution`; `host` is always this one.
        """
        self._write(lambda models, database, host: models.save_task(database, host, task))
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
        return bool(self._write(lambda models, database, host: models.delete_task(database, host, slug)))

    def forget_host(self) -> int:
        """Delete all that is this machine's, and let its name go; how many tasks that were."""

        def forget(models: Any, database: Any, host: str) -> int:
            deleted = int(models.delete_all(database, host))
            hosts.release(database, self.settings.folders)
            return deleted

        return self._write(forget)

    def everyones(self) -> list[tuple[Task, tuple[bool, bool, str], Run | None]]:
        """The tasks of every machine, by name; of each what its record says (disabled, held, the error)
        and its newest run."""
        return queries.everyones(self._ask)

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

        def flag(models: Any, database: Any, host: str) -> None:
            for slug, said in sorted(wrong.items()):
                models.flag_task(database, host, slug, said)

        if wrong:
            self._write(flag)
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
        return int(self._write(lambda models, database, host: models.record(database, host, runs), True))

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

        0 is no limit. Each task's newest run stays, however old. Some thousand are a transaction.
        """
        if not keep_days and not keep_count:
            return 0
        before = microseconds(datetime.now(timezone.utc) - timedelta(days=keep_days)) if keep_days else 0
        keep_count = keep_count or _ALL
        deleted = 0
        for task in queries.prunable(self._ask, self.host, keep_count, before):
            since, newest = queries.kept(self._ask, task, keep_count, before)
            while some := self._prune(task, since, newest):
                deleted += some
        return deleted

    # -- parts ------------------------------------------------------------------------------

    def _prune(self, task: int, since: int, newest: int) -> int:
        return int(self._write(lambda models, database, host: models.prune(database, task, since, newest)))

    def _write(self, work: Callable[[Any, Any, str], _T], durable: bool = False) -> _T:
        """Carry out `work(models, database, host)` in a transaction, again where another came in between."""
        models = self._models()
        for _ in range(_TRIES - 1):
            try:
                return self._written(models, work, durable)
            except Conflict:
                continue
        return self._written(models, work, durable)

    def _written(self, models: Any, work: Callable[[Any, Any, str], _T], durable: bool) -> _T:
        with self._engine.writing(durable) as database:
            if self._engine.is_shared or not self._host:
                self._host = hosts.claim(self._engine, database, self.settings.folders)
            return work(models, database, self._host)

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
            migrations.check(self._engine, self._may_migrate)
            self._is_checked = True
