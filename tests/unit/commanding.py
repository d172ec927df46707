"""Commands for tests: real folders, builds and database, and the host in memory."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from authoring import FUNCTION, SCHEDULE, ready, write_task
from recording import locked, query, settings_of

from keiji import files, latches
from keiji.commands import build as command
from keiji.dispatcher import Dispatcher
from keiji.folders import Folders
from keiji.run import Result, Run
from keiji.runfile import Entry, render
from keiji.schedule import Schedule
from keiji.session import Session
from keiji.store import Store, open_store
from keiji.task import Task, slug_of
from keiji.testing import MemoryHost

EVERY_10 = Schedule().run().every(10).seconds()
EVERY_MINUTE = SCHEDULE.replace("every(10).seconds()", "every(1).minutes()")


@dataclass(frozen=True)
class HastySession(Session):
    """A session that doesn't wait long for a locked database."""

    @contextmanager
    def store(self) -> Iterator[Store]:
        with open_store(self.settings, patience=0.05) as store:
            yield store


class Place:
    """An initialised keiji whose system is started, without a task."""

    def __init__(self, folders: Folders, environments: Path) -> None:
        self.folders = folders
        for folder in self.folders.made():
            if folder != self.folders.venvs:
                folder.mkdir(parents=True, exist_ok=True)
        (self.folders.home / "units").mkdir()
        # A workspace's environment takes a while to make, and tests don't change it.
        self.folders.venvs.symlink_to(environments)
        ready(self.folders)
        self.host = MemoryHost(self.folders)
        settings = replace(settings_of(self.folders), time_zone="UTC")
        bus = Dispatcher(self.folders, self.host, lambda: open_store(settings))  # no transport between
        self.session: Session = HastySession(self.folders, settings, self.host, bus)
        with self.session.store() as store:
            store.migrate()
        self.host.install_system()
        self.host.start_system()

    def write(self, name: str = "ping", function: str = FUNCTION, schedule: str = SCHEDULE) -> None:
        write_task(self.folders, name, function, schedule)

    def add(self, name: str = "ping", schedule: Schedule = EVERY_10, **changes: object) -> Task:
        """A task as a build leaves it, armed; its build is no more than its record."""
        slug = slug_of(name)
        task = Task(name, f"the {slug}", schedule, "b1", "here", f"id-of-{slug}").evolve(**changes)
        build = self.folders.builds(slug) / task.build
        build.mkdir(parents=True)
        made = {"command": ["python", f"{slug}.py"], "schedule": schedule.to_dict()}
        (build / "build.json").write_text(json.dumps(made))
        files.link(self.folders.current(slug), task.build)
        located = task.evolve(schedule=schedule.in_zone(self.session.settings.time_zone))
        for path, text in self.host.render(located, ["python", f"{slug}.py"]).items():
            files.write(path, text)
        self.host.set_enabled(slug, True)
        if self.host.is_started():
            self.host.arm([slug])
        with self.session.store() as store:
            return store.save_task(task)

    def record(self, *runs: Run) -> None:
        with self.session.store() as store:
            store.record_runs(runs)

    def wait_for_delivery(self, entry: Entry) -> None:
        """A run that has ended and whose record waits."""
        (self.folders.done / entry.id).write_text(render(entry), encoding="utf-8")

    def begin(self, entry: Entry) -> None:
        """A run that goes on, or died, as its process is or isn't."""
        self.folders.running(entry.task).write_text(render(entry), encoding="utf-8")

    def build(self, name: str | None = "ping", restart: bool = False) -> int:
        return command.build(self.session, name, restart)

    def hold(self, slug: str = "ping", error: str = "ValueError: no") -> None:
        latches.write_latch(self.folders, slug, "a" * 32, Result.FAILED, error)
        self.host.armed.discard(slug)

    def mark(self, slug: str = "ping") -> None:
        """As a build leaves it that was killed before the manager read the units."""
        self.folders.stale(slug).touch()

    def is_marked(self, slug: str = "ping") -> bool:
        return self.folders.stale(slug).exists()

    def in_zone(self, name: str) -> None:
        """As if settings.conf said another TIME_ZONE."""
        self.set(time_zone=name)

    def set(self, **changes: Any) -> None:
        """As if settings.conf said so."""
        self.session = replace(self.session, settings=replace(self.session.settings, **changes))

    def units(self) -> dict[str, str]:
        """The installed units' text."""
        folder = self.folders.home / "units"
        return {path.name: path.read_text(encoding="utf-8") for path in sorted(folder.iterdir())}

    def rows(self) -> list[tuple[Any, ...]]:
        """The stored records, as the database has them."""
        return query(self.folders, "SELECT * FROM task ORDER BY slug")

    def builds(self) -> dict[str, str]:
        """The builds of each task and what else lies beside them: links by their target."""
        folder = self.folders.home / "exec" / "tasks"
        return {
            str(path.relative_to(folder)): os.readlink(path) if path.is_symlink() else ""
            for depth in ("*/*", "*/.*")
            for path in folder.glob(depth)
        }

    def state(self, *but: str) -> dict[str, object]:
        """All that a build may change, but for the tasks in `but`."""
        whole: dict[str, object] = {
            "units": {slug: text for slug, text in self.units().items() if slug not in but},
            "enabled": {slug for slug, enabled in self.host.units.items() if enabled} - {*but},
            "armed": self.host.armed - {*but},
            "builds": {name: to for name, to in self.builds().items() if name.split("/")[0] not in but},
            "rows": [row for row in self.rows() if not {*but}.intersection(row)],
            "held": {path.name for path in (self.folders.run / "held").iterdir()} - {*but},
        }
        return whole

    def locked_database(self) -> AbstractContextManager[None]:
        """Another program holds the database's write lock."""
        return locked(self.folders)
