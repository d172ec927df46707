"""The ledger: what the run files say, and delivering each ended run to the store once.

A run file is made in ``run/running/``, renamed into ``run/done/`` when the run has ended, and unlinked
when the store has it. Nothing here takes a lock: each step is one rename or unlink, a reader that
comes too late finds the file gone, and a run that is delivered twice changes nothing.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from keiji.due import Firings, firings_of, run_of
from keiji.folders import Folders
from keiji.runfile import DamagedRunFile, Entry, listed, read, unlisted
from keiji.running import age_of

if TYPE_CHECKING:
    from keiji.store import Store
    from keiji.task import Task

BATCH = 500  # files a transaction
_FORGOTTEN = 3600.0  # seconds after which nobody can still be writing a temporary file
_WRITING = 60.0  # seconds after which a file without its beginning is no longer being written


@dataclass(frozen=True)
class Delivery:
    """How many runs were new to the store, and where damaged run files were put aside."""

    delivered: int = 0
    damaged: tuple[Path, ...] = ()


def deliver(
    folders: Folders,
    store: Store,
    zone_of: Callable[[Task], str] | None = None,
    progress: Callable[[int], None] = lambda seen: None,
    damaged: list[Path] | None = None,
) -> Delivery:
    """Bring every ended run into the store, then unlink its file; in batches, so that 100,000 need no memory.

    `zone_of` tells the zone of a schedule that names none (default: the settings'); `progress` is told after
    each batch how many files were seen. Runs of deleted tasks are dropped. Raises `StoreUnavailable`: the
    files stay for the next time, as those do that an interrupt left. What was put aside is in `damaged`
    then, too.
    """
    damaged = [] if damaged is None else damaged
    damaged += [*_set_aside_strange(folders), *_set_aside_torn(folders)]
    delivered = seen = 0
    known: dict[str, Firings] = {}
    for batch in _batches(folders.done):
        entries, unreadable = _read_ended(batch)
        damaged += [kept for path in unreadable for kept in _set_aside(folders, path)]
        # Only now: a task is saved before its first run, so a task that is missing was deleted.
        for slug in {entry.task for entry in entries.values()} - known.keys():
            task = store.find_task(slug)
            if task:
                known[slug] = firings_of(task, zone_of(task) if zone_of else store.settings.time_zone)
        delivered += store.record_runs(
            [
                run_of(entry, store.host, known[entry.task])
                for entry in entries.values()
                if entry.task in known
            ]
        )
        for path, entry in entries.items():
            # A task that has builds was not deleted: the database is a new one, and learns of it by a build.
            if entry.task in known or not folders.builds(entry.task).exists():
                with suppress(OSError):
                    path.unlink()
        seen += len(batch)
        progress(seen)
    return Delivery(delivered, tuple(damaged))


def latest_done(folders: Folders, slug: str) -> str:
    """The id of the task's run that ended last and waits to be delivered, or empty."""
    found = []
    for path in listed(folders.done):
        try:
            entry = read(path)
        except (DamagedRunFile, OSError):
            continue
        if entry.task == slug:
            found.append((entry.began, entry.id))
    return max(found)[1] if found else ""


def sweep(folders: Folders) -> None:
    """Remove the temporary files that a kill has left; what is still being written is minutes old at most."""
    for name in ("running", "done", "held", "requested", "stopping", "last", "stale"):
        for path in (folders.run / name).glob(".*"):
            if age_of(path) > _FORGOTTEN:
                path.unlink(missing_ok=True)


def drop_done(folders: Folders, slug: str) -> None:
    """Forget the ended runs of a task that wait to be delivered: the task is being deleted."""
    for batch in _batches(folders.done):
        for path, entry in _read_ended(batch)[0].items():
            if entry.task == slug:
                path.unlink(missing_ok=True)


def _read_ended(batch: list[Path]) -> tuple[dict[Path, Entry], list[Path]]:
    """What the files say, and those that say nothing sure."""
    entries, damaged = {}, []
    for path in batch:
        try:
            entry = read(path)
        except (DamagedRunFile, PermissionError):
            damaged.append(path)
        except OSError:
            continue  # another reader delivered it, or the disk is in trouble: it stays
        else:
            if entry.ended is None:
                damaged.append(path)
            else:
                entries[path] = entry
    return entries, damaged


def _batches(folder: Path) -> Iterator[list[Path]]:
    batch: list[Path] = []
    for path in listed(folder):
        batch.append(path)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _set_aside(folders: Folders, path: Path) -> list[Path]:
    kept, number = folders.damaged / path.name, itertools.count(1)
    while os.path.lexists(kept):
        kept = folders.damaged / f"{path.name}.{next(number)}"
    try:
        folders.damaged.mkdir(mode=0o700, exist_ok=True)
        path.rename(kept)
    except OSError:
        return []
    return [kept]


def _set_aside_strange(folders: Folders) -> list[Path]:
    """Put aside what is no file: nobody would deliver it, and in running/ it keeps a task from running."""
    strange = [path for folder in (folders.done, folders.run / "running") for path in unlisted(folder)]
    return [kept for path in strange for kept in _set_aside(folders, path)]


def _set_aside_torn(folders: Folders) -> list[Path]:
    """Put aside files of running/ that a power cut left without their beginning.

    Nobody can end such a run, and its file would keep the task from ever running again.
    """
    damaged = []
    for path in listed(folders.run / "running"):
        try:
            read(path)
        except DamagedRunFile:
            if age_of(path) > _WRITING:
                damaged += _set_aside(folders, path)
        except OSError:
            continue
    return damaged
