"""Latches: the files that hold a task after a run of it failed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime

from keiji import files
from keiji.folders import Folders
from keiji.run import Result
from keiji.runfile import fields, lines, moment

NOTHING_SAID = "why could not be written down: see the task's log"


@dataclass(frozen=True)
class Latch:
    """What holds a task: the run that failed, how, when, and its last lines."""

    id: str
    result: Result
    at: datetime
    error: str


def latch(folders: Folders, slug: str) -> Latch | None:
    """What holds the task, or None. That the file is there holds it, whatever it says."""
    path = folders.held(slug)
    try:
        said = fields(path.read_bytes().decode("utf-8", "replace"))
        made = path.stat().st_mtime
    except FileNotFoundError:
        return None
    run, error = said.get("id", ""), said.get("error", "")
    try:
        return Latch(run, Result(said["result"]), moment(float(said["at"])), error)
    except (KeyError, ValueError, OverflowError):  # torn by a power cut, or made on a full disk
        return Latch(run, Result.FAILED, moment(made), error or NOTHING_SAID)


def write_latch(folders: Folders, slug: str, run: str, result: Result, error: str) -> None:
    """Hold the task until it is resolved; raises `OSError` when the disk takes no file any more."""
    said = {"id": run, "result": str(result), "at": f"{time.time():.6f}", "error": error}
    path = folders.held(slug)
    try:
        files.write(path, lines(said))
    except OSError:
        path.touch(0o600)  # a full disk still takes files that hold nothing, and that it is there holds
