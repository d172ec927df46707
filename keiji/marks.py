"""Marks: a file that says a task is being changed, made before the first change and removed after the last.

Whoever finds one, and holds the task's lock, knows that the one who made it was cut short, and brings units,
latch and record into agreement (`recovery`).
"""

from __future__ import annotations

from keiji import files
from keiji.folders import Folders
from keiji.runfile import listed

UNITS = ""  # the mark of a build or an update: the manager may not know the unit files as they are


def mark(folders: Folders, slug: str, why: str = UNITS) -> None:
    """Say that the task is being changed, and by what: a directive's verb, or `UNITS`."""
    folders.stale(slug).parent.mkdir(mode=0o700, exist_ok=True)
    files.write(folders.stale(slug), why)


def unmark(folders: Folders, slug: str) -> None:
    folders.stale(slug).unlink(missing_ok=True)


def why(folders: Folders, slug: str) -> str | None:
    """What the task's mark says, or None where there is none."""
    return files.read(folders.stale(slug))


def since(folders: Folders, slug: str) -> float:
    """When the mark was made, in epoch seconds."""
    return folders.stale(slug).stat().st_mtime


def marked(folders: Folders) -> list[str]:
    """The tasks that have a mark."""
    return sorted(path.name for path in listed(folders.run / "stale"))
