"""What launchd calls keiji's agents, and where their files lie."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

TASKS = "io.keiji.task."
ONCE = "io.keiji.once."
HOUSEKEEPING = "io.keiji.housekeeping"
STARTUP = "io.keiji.startup"
BUS = "io.keiji.bus"
_LABEL = re.compile(r"io\.keiji\.[A-Za-z0-9._-]+")


def agent_folder() -> Path:
    """Where launchd looks at login; a plist must be a real file there."""
    return Path(os.environ.get("HOME") or Path.home()) / "Library" / "LaunchAgents"


def task(slug: str) -> str:
    return f"{TASKS}{slug}"


def once(slug: str) -> str:
    """The agent that starts one run, of a task whose own is not loaded or can't be asked for one."""
    return f"{ONCE}{slug}"


def plist(label: str) -> Path:
    return agent_folder() / f"{label}.plist"


def checked(label: str) -> str:
    """The label, which is one of keiji's; `ValueError` for anything else.

    An empty one would name a whole domain: to boot that out ends the person's session.
    """
    if not _LABEL.fullmatch(label):
        raise ValueError(f"{label!r} is no label of keiji's")
    return label


def slugs(labels: Iterable[str]) -> list[str]:
    """The tasks whose agents are among the labels, in order."""
    return sorted(label[len(TASKS) :] for label in labels if label.startswith(TASKS))
