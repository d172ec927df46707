"""`keiji task create`: scaffold a task's folder."""

from __future__ import annotations

from keiji import output, workspace
from keiji.folders import Folders
from keiji.task import slug_of


def create(folders: Folders, name: str, description: str, force: bool) -> None:
    """Write the four files of a new task; an existing folder is replaced only by `force`."""
    folder = workspace.create_task(folders, name, description, force)
    output.say(f"created {folder}")
    output.say(f"write function.py and schedule.py there, then: keiji task build {slug_of(name)}")
