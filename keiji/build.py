"""From the author's folder to an executable: a snapshot in a folder named by its hash."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import keiji
from keiji import executables, parts, snapshot, workspace
from keiji.environment import Environment
from keiji.errors import InvalidSchedule, UnsupportedHere
from keiji.evaluating import Evaluator
from keiji.executables import command, prune
from keiji.folders import Folders
from keiji.inspection import Places
from keiji.runner_start import START
from keiji.schedule import Schedule
from keiji.settings import Settings
from keiji.workspace import Sources

__all__ = ["Built", "Stock", "build", "command", "prune", "swap", "swap_back"]

# The constants that the runner needs about a task's firings; raises where the system can't do it.
FiringOf = Callable[[Schedule, str], dict[str, Any]]


@dataclass(frozen=True)
class Built:
    """An executable and what is known of its task. `command` is what a unit executes.

    `schedule` is the author's, without the settings' zone. `changed`: it is not what was current;
    `previous` is the hash of that, and `fresh` says that the folder was made now.
    """

    slug: str
    name: str
    description: str
    schedule: Schedule
    hash: str
    command: list[str]
    changed: bool
    fresh: bool
    previous: str | None


class Stock:
    """What the builds of one command share: files that are the same in each are linked, not made anew."""

    shared: str | None = None  # the digest of the code at the workspace's root
    donor: parts.Donor | None = None


def build(
    folders: Folders,
    settings: Settings,
    name: str,
    evaluator: Evaluator,
    environment: Environment,
    firing_of: FiringOf,
    stock: Stock | None = None,
) -> Built:
    """Make the task's executable, or find that the current one is still right; `current` isn't changed.

    The caller holds the task's lock, and passes the same `stock` for all builds of a command. Raises
    `NoSuchTask`, `InvalidTask`, and what `firing_of` raises, with everything as it was.
    """
    sources = workspace.read_sources(folders, name)
    job = _Job(folders, settings.time_zone, sources, environment, firing_of, stock or Stock())
    return job.unchanged() or job.make(evaluator)


def swap(folders: Folders, slug: str, build: str) -> None:
    """Make the build of that hash the task's current one, in one step."""
    executables.swap(folders, slug, build)


def swap_back(folders: Folders, built: Built) -> None:
    """Undo a build, whether it was swapped in or not."""
    executables.restore(folders, built.slug, built.previous)
    folder = folders.builds(built.slug) / built.hash
    if built.fresh and folder.exists():
        executables.remove(folder)
    executables.forget_if_empty(folders.builds(built.slug))


@dataclass
class _Job:
    """One task's build: what it is made of, then the making."""

    folders: Folders
    time_zone: str
    sources: Sources
    environment: Environment
    firing_of: FiringOf
    stock: Stock

    def __post_init__(self) -> None:
        self.builds = self.folders.builds(self.sources.slug)
        self.previous = executables.current(self.folders, self.sources.slug)
        self.command = self._command()

    def unchanged(self) -> Built | None:
        """The current build, when making it anew would make the same."""
        if self.previous is None:
            return None
        folder = self.builds / self.previous
        made = executables.record(folder)
        if made is None or made.get("parts") != parts.digest():
            return None
        if self.stock.shared is None:
            self.stock.shared = snapshot.shared_digest(self.folders.workspace)
        is_whole = executables.is_whole(folder, made)
        if is_whole and self.stock.donor is None and made.get("shared") == self.stock.shared:
            self.stock.donor = parts.Donor(folder, frozenset(made["files"]))
        if not is_whole or made.get("inputs") != self._inputs(snapshot.task_digest(self.sources.folder)):
            return None
        try:
            schedule = Schedule.from_dict(made.get("schedule"))
        except InvalidSchedule:
            return None
        firing = self._firing(schedule)
        if _digest(made.get("firing")) != _digest(firing):
            return None
        return self._built(schedule, self.previous, False)

    def make(self, evaluator: Evaluator) -> Built:
        """Make the build in a folder beside its place, which it takes when it is whole."""
        self.builds.mkdir(mode=0o700, parents=True, exist_ok=True)
        executables.sweep(self.folders, self.sources.slug)
        fresh = self.builds / ".new-build"
        try:
            fresh.mkdir(0o700)
            self._take_shared(fresh)
            inputs = self._inputs(snapshot.task_digest(self.sources.folder, fresh / "task"))
            schedule = evaluator.evaluate(self._places(fresh))
            firing = self._firing(schedule)
            digest = _digest([inputs, schedule.to_dict(), firing])[:16]
            constants = self._constants(schedule, firing, digest)
            parts.lay(fresh, constants, self.stock.donor)
            sizes = executables.sizes(fresh)
            self._write_record(fresh, inputs, schedule, firing, sizes)
            is_new = self._put(fresh, self.builds / digest)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            executables.forget_if_empty(self.builds)
            raise
        self.stock.donor = parts.Donor(self.builds / digest, frozenset(sizes))
        return self._built(schedule, digest, is_new and digest != self.previous)

    def _firing(self, schedule: Schedule) -> dict[str, Any]:
        try:
            return self.firing_of(schedule, self.sources.slug)
        except UnsupportedHere as problem:
            raise UnsupportedHere(f"{self.sources.folder / 'schedule.py'}: {problem.message}") from None

    def _take_shared(self, fresh: Path) -> None:
        if self.stock.donor is not None:
            try:
                return parts.link_shared(self.stock.donor, fresh)
            except OSError:  # also when another command has removed the donor
                shutil.rmtree(fresh / "shared", ignore_errors=True)
        self.stock.shared = snapshot.shared_digest(self.folders.workspace, fresh / "shared")
        return None

    def _inputs(self, task: str) -> str:
        """Names all that a build is made of, but for what its schedule.py says."""
        sources, environment = self.sources, self.environment
        author = [sources.slug, sources.name, sources.description, str(sources.folder)]
        python = [self.command, environment.paths, environment.python, sys.implementation.cache_tag]
        ours = [parts.digest(), keiji.__version__, str(self.folders.home), self.time_zone]
        return _digest([task, self.stock.shared, author, python, ours])

    def _command(self) -> list[str]:
        start = str(self.folders.current(self.sources.slug) / START)
        if self.environment.needs_site:
            return [self.environment.python, "-I", "-u", start]
        return [self.environment.interpreter, "-I", "-S", "-u", start]

    def _places(self, fresh: Path) -> Places:
        copies = (str(fresh / "task"), str(fresh / "shared"))
        return Places(*copies, str(self.sources.folder), str(self.folders.workspace))

    def _constants(self, schedule: Schedule, firing: dict[str, Any], digest: str) -> dict[str, object]:
        """All that the runner knows of this build."""
        environment = self.environment
        return {
            **parts.task_constants(self.sources, schedule.in_zone(self.time_zone)),
            "BUILD": digest,
            "HOME": str(self.folders.home),
            "SETTINGS": str(self.folders.settings),
            "HOST": "linux",
            "PATHS": ["{build}/task", "{build}/shared", *environment.paths],
            "PREFIX": str(environment.folder),
            "EXECUTABLE": environment.python,
            **firing,
        }

    def _write_record(
        self, fresh: Path, inputs: str, schedule: Schedule, firing: dict[str, Any], sizes: dict[str, int]
    ) -> None:
        made = {
            "slug": self.sources.slug,
            "built": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "keiji": keiji.__version__,
            "python": sys.implementation.cache_tag,
            "interpreter": self.environment.interpreter,
            "environment": self.environment.name,
            "command": self.command,
            "schedule": schedule.to_dict(),
            "firing": firing,
            "inputs": inputs,
            "shared": self.stock.shared,
            "parts": parts.digest(),
            "files": sizes,
        }
        (fresh / executables.RECORD).write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")

    def _put(self, fresh: Path, place: Path) -> bool:
        """Move the build to its place; False when the same lies there already."""
        made = executables.record(place)
        if made is not None and executables.is_whole(place, made):
            shutil.rmtree(fresh)
            return False
        if place.exists():
            executables.remove(place)
        fresh.rename(place)
        return True

    def _built(self, schedule: Schedule, digest: str, fresh: bool) -> Built:
        return Built(
            slug=self.sources.slug,
            name=self.sources.name,
            description=self.sources.description,
            schedule=schedule,
            hash=digest,
            command=self.command,
            changed=digest != self.previous,
            fresh=fresh,
            previous=self.previous,
        )


def _digest(of: object) -> str:
    return hashlib.sha256(json.dumps(of).encode()).hexdigest()
