"""Ending a run on purpose, and clearing up where that, or the asking for a run, was cut short."""

from __future__ import annotations

from contextlib import suppress

from keiji import files, running
from keiji.errors import HostFailed
from keiji.folders import Folders
from keiji.host import Ending, Host
from keiji.latches import latch
from keiji.run import Result


def end_run(folders: Folders, host: Host, slug: str) -> str:
    """End the run in progress on purpose; its id, or empty when nothing ran.

    The caller holds the task's lock. Raises `HostFailed` and `OSError` with the run still going on, as far
    as can be told.
    """
    entry = running.running_entry(folders, slug)
    ending = host.ending(slug)
    if not entry and not ending.is_active:
        folders.requested(slug).unlink(missing_ok=True)
        return ""
    run = entry.id if entry else ending.run
    # Says that what happens to the run is meant, whoever judges it. Where the disk is full it may go unsaid.
    with suppress(OSError):
        files.write(folders.stopping(slug), run + "\n")
    host.stop_run(slug)
    # It is over and can't be revived: what fails from here on is no reason to undo anything.
    with suppress(OSError):
        _record(folders, slug, run, began=entry is not None)
        folders.stopping(slug).unlink(missing_ok=True)
        folders.requested(slug).unlink(missing_ok=True)
    with suppress(HostFailed):
        host.forget_failure(slug)
    return run


def tidy(folders: Folders, host: Host, slug: str) -> None:
    """Remove a request that no run will take, and an intent to stop a run that nobody is stopping.

    The caller holds the task's lock, and dead runs have been judged. Costs two looks at files where there
    is neither.
    """
    intent = files.read(folders.stopping(slug))
    is_asked = folders.requested(slug).exists()
    if intent is None and not is_asked:
        return
    ending = host.ending(slug)
    entry = running.running_entry(folders, slug)
    if is_asked and not (ending.is_active and entry is None):
        folders.requested(slug).unlink(missing_ok=True)
    run = (intent or "").strip()
    is_under_way = ending.is_stopping and run in (ending.run, "*")
    # An intent that stays would make whatever ends the run later, a failure, too, count as a stop.
    if intent is not None and not is_under_way:
        if entry is None:
            _record_unseen(folders, slug, run, ending)
        folders.stopping(slug).unlink(missing_ok=True)


def _record(folders: Folders, slug: str, run: str, began: bool) -> None:
    late = running.running_entry(folders, slug)
    if late:  # it ignored SIGTERM and could not speak any more
        running.end_run(folders, slug, late.id, Result.STOPPED)
    elif not began and run and not (folders.done / run).exists():
        _record_unborn(folders, slug, run)


def _record_unseen(folders: Folders, slug: str, run: str, ending: Ending) -> None:
    """Record the run that was stopped before it began, by one that was cut short."""
    if ending.is_active or ending.run != run or not ending.by_signal or (folders.done / run).exists():
        return
    held = latch(folders, slug)
    if held is None or held.id != run:
        _record_unborn(folders, slug, run)


def _record_unborn(folders: Folders, slug: str, run: str) -> None:
    running.write_unborn(folders, slug, run, Result.STOPPED, "stopped before it began")
