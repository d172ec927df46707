"""Runs and states followed as they happen: by the run files, and by what the system's manager tells.

All of it runs in the main loop's thread and only tells; what takes time is for others. Nothing that
happens after `start` returns is missed, so whoever looks then and listens knows all.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Protocol

from keiji.bus.glib import GLib
from keiji.errors import InvalidName, KeijiError
from keiji.folders import Folders
from keiji.monitors import Monitor
from keiji.run import Run
from keiji.runfile import DamagedRunFile, read
from keiji.task import slug_of

_REMEMBERED = 10_000  # runs; a run is told twice only if so many others ended between

Changed = Callable[[str], None]
Finished = Callable[[str, str, str], None]


class Units(Protocol):
    """Who tells of a task whose units the system's manager may have brought into another state."""

    def start(self, changed: Changed) -> None: ...

    def stop(self) -> None: ...


class Following:
    """Calls `finished(slug, run, result)` once for each run that ends, `changed(slug)` rather too often.

    `find_run` looks a run up in the database, in a thread of its own: another process may have delivered
    the run, and unlinked its file, before the file was read here.
    """

    def __init__(
        self,
        folders: Folders,
        units: Units,
        changed: Changed,
        finished: Finished,
        find_run: Callable[[str], Run | None],
    ) -> None:
        self.folders = folders
        self.units = units
        self._changed = changed
        self._finished = finished
        self._find_run = find_run
        self._told: dict[str, None] = {}  # the ids of runs, the oldest first
        self._monitors: list[Monitor] = []
        self._finder = ThreadPoolExecutor(1, thread_name_prefix="find-run")

    def start(self) -> None:
        """Follow from now on; called in the main loop's thread."""
        run = self.folders.run
        told = (run / "running", run / "requested", run / "held", run / "stale", self.folders.tasks)
        for folder in told:
            self._monitors.append(Monitor(folder, self._touched))
        self._monitors.append(Monitor(self.folders.done, self._came))
        self.units.start(self._changed)

    def stop(self) -> None:
        """Tell nothing any more."""
        self.units.stop()
        while self._monitors:
            self._monitors.pop().stop()
        self._finder.shutdown(wait=False, cancel_futures=True)

    def _touched(self, name: str, _: bool) -> None:
        with suppress(InvalidName):
            if slug_of(name) == name:
                self._changed(name)

    def _came(self, name: str, is_there: bool) -> None:
        """A file came into done/, or went: then it was delivered."""
        if not is_there or name in self._told:
            return
        try:
            entry = read(self.folders.done / name)
        except DamagedRunFile:
            return  # deliveries put it aside
        except OSError:
            self._remember(name)
            self._finder.submit(self._find, name)
            return
        if entry.result:
            self._tell(entry.task, name, str(entry.result))

    def _tell(self, slug: str, run: str, result: str) -> None:
        self._remember(run)
        self._finished(slug, run, result)

    def _remember(self, run: str) -> None:
        self._told[run] = None
        if len(self._told) > _REMEMBERED:
            del self._told[next(iter(self._told))]

    def _find(self, name: str) -> None:
        with suppress(KeijiError):  # the database is away
            run = self._find_run(name)
            if run:
                GLib.idle_add(self._found, run, priority=GLib.PRIORITY_DEFAULT)

    def _found(self, run: Run) -> bool:
        if self._monitors:
            self._tell(run.task, run.id, str(run.result))
        return False
