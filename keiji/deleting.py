"""Deleting a task. Until its record is gone all can be put back; from then on all else goes, too."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from keiji import ledger, marks, stopping
from keiji.errors import HostFailed
from keiji.folders import Folders
from keiji.host import Host

if TYPE_CHECKING:
    from keiji.store import Store


def delete(folders: Folders, host: Host, slug: str, store: Store) -> str:
    """Take the task from the manager, then from the database; the id of the run that was ended, if any.

    The caller holds the task's lock. It may be done again whatever was done already.
    """
    host.set_enabled(slug, False)
    host.disarm([slug])
    # Before its unit is gone: a unit without its file has no patience with a run that is deaf.
    run = stopping.end_run(folders, host, slug)
    for path in host.unit_files(slug):
        path.unlink(missing_ok=True)
    host.reload()
    store.delete_task(slug)
    return run


def clear(folders: Folders, host: Host, slug: str) -> None:
    """Remove what is left of a task whose record is gone; what can't be is left to whoever finds the mark."""
    with suppress(HostFailed, OSError):
        for path in _own_files(folders, slug):
            path.unlink(missing_ok=True)
        ledger.drop_done(folders, slug)
        shutil.rmtree(folders.builds(slug), ignore_errors=True)
        shutil.rmtree(folders.logs / "tasks" / slug, ignore_errors=True)
        host.forget(slug)
        marks.unmark(folders, slug)


def _own_files(folders: Folders, slug: str) -> list[Path]:
    return [
        folders.requested(slug),
        folders.stopping(slug),
        folders.held(slug),
        folders.last(slug),
        folders.running(slug),
    ]
