"""Runs in progress, and speaking for those that can no longer speak for themselves."""

from __future__ import annotations

import os
import time
from pathlib import Path

from keiji import files
from keiji.folders import Folders
from keiji.latches import latch
from keiji.run import Result
from keiji.runfile import DamagedRunFile, Entry, listed, moment, read, render

POWER_OFF = "cut off by power-off"


def running(folders: Folders) -> list[Entry]:
    """The runs in progress, and those that died and wait for somebody to end their files."""
    found = (running_entry(folders, path.name) for path in listed(folders.run / "running"))
    return sorted((entry for entry in found if entry), key=lambda entry: entry.task)


def slugs(folders: Folders) -> list[str]:
    """The tasks that have a run file, whatever it says."""
    return sorted(path.name for path in listed(folders.run / "running"))


def running_entry(folders: Folders, slug: str) -> Entry | None:
    """The task's run in progress, or None."""
    try:
        return read(folders.running(slug))
    except (DamagedRunFile, OSError):
        return None


def is_alive(entry: Entry) -> bool:
    """Whether a process of the run's number exists; the number may be another's by now."""
    try:
        os.kill(entry.pid, 0)
    except OSError:
        return False
    return entry.pid > 0


def new_id() -> str:
    """An id for a run that the manager gave none."""
    return os.urandom(16).hex()


def end_run(
    folders: Folders,
    slug: str,
    run: str,
    result: Result,
    *,
    status: int | None = None,
    signal: int | None = None,
    error: str = "",
    ended: float | None = None,
) -> bool:
    """End the run `run` of the task in its name; False, with nothing changed, if it ended by itself.

    `ended` is in epoch seconds (default: now). What the run itself had written of its end stands, and
    so does the verdict of a latch that it made.
    """
    entry = running_entry(folders, slug)
    if entry is None or entry.id != run:
        return False
    if entry.ended is None:
        own = latch(folders, slug)
        if own and own.id == run:
            result, error = own.result, own.error or error
        at = moment(time.time() if ended is None else ended)
        entry = entry.evolve(
            ended=max(at, entry.began), result=result, status=status, signal=signal, error=error
        )
    # The record first: whoever dies between the two steps leaves a run that is ended once more, and then
    # what was said first stands.
    if not _has_ended(folders.done / run):
        files.write(folders.done / run, render(entry))
    _clear_running(folders, slug, run)
    return True


def _has_ended(path: Path) -> bool:
    try:
        return read(path).ended is not None
    except (DamagedRunFile, OSError):
        return False


def _clear_running(folders: Folders, slug: str, run: str) -> None:
    """Unlink the run's file in running/, but never that of a later run.

    Nobody can begin a run between the look and the unlink: while the file is there no run begins.
    """
    entry = running_entry(folders, slug)
    if entry and entry.id == run:
        folders.running(slug).unlink(missing_ok=True)


def write_unborn(
    folders: Folders,
    slug: str,
    run: str,
    result: Result,
    error: str,
    status: int | None = None,
    why: str = "timer",
) -> None:
    """Record a run that was over before it began; raises `OSError`."""
    now = moment(time.time())
    entry = Entry(
        run,
        slug,
        _current_build(folders, slug),
        0,
        "",
        why,
        now,
        now,
        result,
        status,
        attempts=0,
        error=error,
    )
    files.write(folders.done / run, render(entry))


def clear_leftovers(folders: Folders, boot: str) -> list[Entry]:
    """Record the runs that another boot than `boot` left behind as killed, without a latch.

    When they were cut off is not known: they are said to have ended when they were last heard of.
    """
    cleared = []
    for entry in running(folders):
        if entry.boot == boot:
            continue
        heard = time.time() - age_of(folders.running(entry.task))
        if end_run(folders, entry.task, entry.id, Result.KILLED, error=POWER_OFF, ended=heard):
            cleared.append(entry)
    return cleared


def _current_build(folders: Folders, slug: str) -> str:
    try:
        return folders.current(slug).readlink().name
    except OSError:
        return ""


def age_of(path: Path) -> float:
    """Seconds since the file was last written; 0 when it is gone."""
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0
