"""A task in any state on the host in memory, and ways to have what changes it fail or be killed."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from unittest import mock

from commanding import Place

from keiji import files, latches, marks, runfile, running
from keiji.directives import Directive, Reply, Verb
from keiji.dispatcher import Dispatcher
from keiji.errors import StoreUnavailable
from keiji.host import Ending
from keiji.lifecycle import Life
from keiji.run import Result
from keiji.store import open_store
from keiji.store.sqlite import SqliteEngine
from keiji.testing import MemoryHost, broken

MUTATIONS = (
    *("set_enabled", "reload", "arm", "disarm", "forget_failure", "forget"),
    *("start_run", "stop_run"),
)
QUESTIONS = ("is_installed", "is_enabled", "timers", "ending", "is_started", "is_polled", "unit_files", "log")
LIVES = [
    Life(True, True, is_enabled=enabled, is_held=held, is_running=running, is_started=started)
    for enabled, held, running, started in itertools.product((True, False), repeat=4)
]
RUN_FILE = (
    "keiji 1\nid={run}\ntask={slug}\nbuild=b1\npid=1\nboot=boot-1\nwhy=manual\nbegan=1795000000.000000\n"
)


class Killed(BaseException):
    """The process is gone; no handler may take this for a failure."""


class Manager(MemoryHost):
    """Knows of unit files what it has read, as a real manager does."""

    read: dict[str, str]

    def reload(self) -> None:
        super().reload()
        folder = self.folders.home / "units"
        self.read = {path.name: path.read_text() for path in folder.iterdir()}

    def arm(self, slugs: Iterable[str], rested: Mapping[str, float] | None = None) -> list[str]:
        slugs = list(slugs)
        for slug in slugs:
            self.read.setdefault(slug, self.unit_files(slug)[0].read_text())
        return super().arm(slugs, rested)


class Stage:
    """One task, `ping`, on a place; a fresh dispatcher for each directive."""

    def __init__(self, place: Place, life: Life) -> None:
        self.place, self.folders = place, place.folders
        self.host = cast(Manager, place.host)
        self.host.__class__ = Manager  # the session and its dispatcher have it already
        self.host.reload()
        self.host.begin = self.begin
        self.host.stop_system()
        if life.has_source:
            (self.folders.tasks / "ping").mkdir(exist_ok=True)
        if life.is_built:
            self._build(life)
        self.host.reload()
        if life.is_started:
            self.host.start_system()

    def _build(self, life: Life) -> None:
        self.place.add()
        if life.is_running:
            self.host.start_run("ping")
        if life.is_held:
            self.place.hold()
        self.host.set_enabled("ping", life.is_enabled)
        with self.place.session.store() as store:
            store.mend("ping", not life.is_enabled, "ValueError: no" if life.is_held else None)

    def begin(self, slug: str, run: str) -> None:
        """As a runner begins."""
        self.folders.running(slug).write_text(RUN_FILE.format(run=run, slug=slug))

    def send(self, verb: Verb, name: str = "ping", inside: str = "") -> Reply:
        return self.dispatcher().send(Directive(verb, name, inside))

    def dispatcher(self) -> Dispatcher:
        settings = self.place.session.settings
        return Dispatcher(self.folders, self.host, lambda: open_store(settings, patience=0.05))

    def life(self) -> Life:
        """What is true, found out without the dispatcher."""
        is_built = "ping" in self.place.units()
        entry = running.running_entry(self.folders, "ping")
        return Life(
            has_source=(self.folders.tasks / "ping").is_dir(),
            is_built=is_built,
            is_enabled=self.host.units.get("ping", False),
            is_held=self.folders.held("ping").exists(),
            is_running=entry is not None and self.host.ending("ping").is_active,
            is_queued=self.folders.requested("ping").exists(),
            is_started=bool(self.host.system),
        )

    def whole(self) -> dict[str, object]:
        """Manager, latch, record and whatever else a directive may change; not the run."""
        home = self.folders.home
        return {
            "life": replace(self.life(), is_running=False),
            "armed": self.host.armed.copy(),
            "read": self.host.read.copy(),
            "units": self.place.units(),
            "rows": self.place.rows(),
            "builds": self.place.builds(),
            "latch": latches.latch(self.folders, "ping"),
            "left": sorted(
                str(path.relative_to(home))
                for name in ("stale", "requested", "stopping", "held")
                for path in (self.folders.run / name).iterdir()
            ),
        }

    def is_recorded(self) -> bool:
        with self.place.session.store() as store:
            return store.find_task("ping") is not None


def disagreements(stage: Stage) -> list[str]:
    """In what manager, latch, run files and record of the task don't agree."""
    folders, host = stage.folders, stage.host
    life, ending = stage.life(), host.ending("ping")
    entry = running.running_entry(folders, "ping")
    checks = {
        "it is armed and should not be, or not and should be": ("ping" in host.armed) is life.is_armed,
        "the manager knows other units": host.read.get("ping") == stage.place.units().get("ping"),
        "record and units": life.is_built is stage.is_recorded(),
        "a mark is left": marks.why(folders, "ping") is None,
        "a request is left": not life.is_queued or (ending.is_active and entry is None),
        "an intent to stop is left": not folders.stopping("ping").exists() or ending.is_stopping,
        "a run file without a run": entry is None or (ending.is_active and ending.run == entry.id),
    }
    if not life.is_built:
        checks |= {
            "a build is left": not folders.builds("ping").exists(),
            "it is enabled": not life.is_enabled,
            "it is held": not life.is_held,
            "it runs": not ending.is_active,
        }
    return [name for name, is_fine in checks.items() if not is_fine]


class Faults:
    """Has a step go wrong: a change, or with `questions` whatever the host is asked, too.

    From the step on at which the process is killed every change raises `Killed`, in handlers as well.
    """

    def __init__(self, stage: Stage, questions: bool = False) -> None:
        self.host = stage.host
        self.names = (*MUTATIONS, *QUESTIONS) if questions else MUTATIONS
        self.count = self.failing = self.killing = 0
        self.where = ""
        self.of_name = ""
        self.is_within = False

    @contextmanager
    def at_step(self, failing: int = 0, killing: int = 0, of_name: str = "") -> Iterator[None]:
        """Have the step of one number fail, and the process killed at that of the other or `of_name`."""
        self.count, self.failing, self.killing, self.where = 0, failing, killing, ""
        self.of_name = of_name
        patches: list[Any] = [
            mock.patch.object(self.host, name, self._wrap(getattr(self.host, name), name, broken()))
            for name in self.names
        ]
        gone = StoreUnavailable("the disk is full")
        full = OSError(28, "No space left on device", "/home")
        for owner, name, error in (
            *((files, name, full) for name in ("write", "link")),
            *((Path, name, full) for name in ("unlink", "rename")),
            (shutil, "rmtree", full),
            (SqliteEngine, "writing", gone),
        ):
            patches.append(mock.patch.object(owner, name, self._wrap(getattr(owner, name), name, error)))
        for patch in patches:
            patch.start()
        try:
            yield
        finally:
            for patch in patches:
                patch.stop()

    @property
    def has_struck(self) -> bool:
        return self.where != ""

    def _wrap(self, real: Callable[..., Any], name: str, error: Exception) -> Callable[..., Any]:
        def step(*arguments: Any, **options: Any) -> Any:
            if self.is_within:  # one step's own business
                return real(*arguments, **options)
            self.count += 1
            if name == self.of_name:
                self.of_name, self.killing = "", self.count
            if self.count in (self.failing, self.killing):
                self.where = name
            if self.killing and self.count >= self.killing:
                raise Killed(name)
            if self.count == self.failing and not options.get("ignore_errors"):
                raise error
            self.is_within = True
            try:
                return real(*arguments, **options)
            finally:
                self.is_within = False

        return step


class Reset:
    """Puts a stage back to what it was when this was made, so that one place serves many cases."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.home = stage, stage.folders.home
        self.kept = _content(self.home)
        self.host = {name: _copied(value) for name, value in vars(stage.host).items()}

    def __call__(self) -> None:
        now = _content(self.home)
        for path in sorted(now.keys() - self.kept.keys(), reverse=True):
            path.rmdir() if now[path] is None else path.unlink()
        for path in sorted(self.kept):
            if path not in now or now[path] != self.kept[path]:
                _restore(path, self.kept[path])
        vars(self.stage.host).update({name: _copied(value) for name, value in self.host.items()})


def _content(home: Path) -> dict[Path, bytes | str | None]:
    """What lies in the folder: a file's bytes, where a link points to, None for a folder."""
    found: dict[Path, bytes | str | None] = {}
    for folder, folders, names in os.walk(home):
        for name in (*folders, *names):
            path = Path(folder, name)
            found[path] = (
                os.readlink(path) if path.is_symlink() else None if name in folders else path.read_bytes()
            )
    return found


def _restore(path: Path, content: bytes | str | None) -> None:
    if content is None:
        path.mkdir()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.unlink(missing_ok=True)
        path.symlink_to(content)


def _copied(value: Any) -> Any:
    return value.copy() if isinstance(value, (dict, set, list)) else value


def stop_under_way(host: MemoryHost) -> None:
    """The manager was asked to stop the run, and is at it."""
    ending = host.endings["ping"]
    host.endings["ping"] = replace(ending, is_stopping=True)


def die(host: MemoryHost, **how: Any) -> None:
    """The run ends without a word."""
    host.endings["ping"] = Ending(run=host.endings["ping"].run, **how)


def result_of(stage: Stage, run: str) -> Result | None:
    """How the run ended, as its file says, or its record if it is delivered."""
    text = files.read(stage.folders.done / run)
    if text is not None:
        return runfile.parse(text).result
    with stage.place.session.store() as store:
        found = store.find_run("ping", run)
        return found.result if found else None
