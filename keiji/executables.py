"""The executables that builds leave: which one is current, what each was made of, which are kept."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keiji import files
from keiji.errors import TaskNotBuilt
from keiji.folders import Folders

RECORD = "build.json"
KEPT = 3


def current(folders: Folders, slug: str) -> str | None:
    """The hash that ``current`` names, or None before the first build."""
    try:
        return os.readlink(folders.current(slug))
    except OSError:
        return None


def record(folder: Path) -> dict[str, Any] | None:
    """What a build was made of, or None where that can't be read."""
    try:
        found = json.loads((folder / RECORD).read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def is_whole(folder: Path, made: dict[str, Any]) -> bool:
    """Whether all code is there in its size: after a power cut files may be empty."""
    try:
        sizes = made["files"].items()
        return all(os.stat(f"{folder}/{name}").st_size == size for name, size in sizes if is_code(name))
    except (OSError, KeyError, AttributeError):
        return False


def sizes(folder: Path) -> dict[str, int]:
    """The size of each file of a build, by its name."""
    found = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(parent, name)
            found[path[len(str(folder)) + 1 :]] = os.stat(path).st_size
    return found


def is_code(name: str) -> bool:
    """Other files of a build may be changed by the function that it runs."""
    return name.endswith((".py", ".pyc"))


def command(folders: Folders, slug: str) -> list[str]:
    """What a unit executes to run the task's current build; raises `TaskNotBuilt`."""
    made = record(folders.current(slug))
    if made is None or not isinstance(made.get("command"), list):
        raise TaskNotBuilt(f"task {slug!r} has no whole build: run `keiji task build {slug}`")
    return [str(word) for word in made["command"]]


def swap(folders: Folders, slug: str, build: str) -> None:
    """Make the build named by that hash the current one, in one step."""
    os.utime(folders.builds(slug) / build)  # the last three are the last that were current
    files.link(folders.current(slug), build)


def restore(folders: Folders, slug: str, build: str | None) -> None:
    """Make ``current`` name what it named before, or nothing."""
    if build is None:
        folders.current(slug).unlink(missing_ok=True)
    else:
        files.link(folders.current(slug), build)


def prune(folders: Folders, slug: str, keep: int = KEPT) -> None:
    """Remove all builds of a task but the last `keep`, the current one and the one that is running."""
    builds = sorted(_builds(folders, slug), key=lambda path: path.stat().st_mtime_ns, reverse=True)
    if len(builds) <= keep:
        return
    spared = {current(folders, slug), _running(folders, slug)}
    for folder in builds[keep:]:
        if folder.name not in spared:
            remove(folder)


def sweep(folders: Folders, slug: str) -> None:
    """Remove what builds that were killed have left; the task's lock must be held."""
    for leftover in folders.builds(slug).glob(".???-*"):
        shutil.rmtree(leftover)


def remove(folder: Path) -> None:
    """Remove a build in such a way that half of it is never taken for one."""
    aside = folder.with_name(f".old-{folder.name}")
    folder.rename(aside)
    shutil.rmtree(aside)


def forget_if_empty(builds: Path) -> None:
    """Remove the folder of a task's builds when there are none."""
    try:
        builds.rmdir()
    except OSError:
        pass


def environments(folders: Folders) -> set[str]:
    """The names of the environments that some build of some task runs in."""
    slugs = os.listdir(folders.home / "exec" / "tasks") if (folders.home / "exec" / "tasks").is_dir() else []
    made = (record(build) for slug in slugs for build in _builds(folders, slug))
    return {str(one["environment"]) for one in made if one and "environment" in one}


def _builds(folders: Folders, slug: str) -> Iterator[Path]:
    folder = folders.builds(slug)
    if folder.is_dir():
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name[0] != "." and entry.is_dir(follow_symlinks=False):
                    yield Path(entry.path)


def _running(folders: Folders, slug: str) -> str | None:
    """The build that a run in progress began with."""
    for line in (files.read(folders.running(slug)) or "").splitlines():
        if line.startswith("build="):
            return line[len("build=") :]
    return None
