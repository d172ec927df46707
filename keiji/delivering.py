"""Every look delivers: what the run files say goes into the database before it is read."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from keiji import ledger, output, running
from keiji.errors import HostFailed, TaskBusy
from keiji.folders import Folders

if TYPE_CHECKING:
    from keiji.host import Host
    from keiji.settings import Settings
    from keiji.store import Store
    from keiji.task import Task

_NAMED = 3  # damaged files


def deliver(host: Host, store: Store) -> int:
    """Deliver the records of ended runs, those of dead ones too; how many there were.

    Damaged run files are set aside and named. Many take a while, which a terminal is shown.
    """
    folders = store.settings.folders
    settle_dead(folders, host)
    progress = _Progress(folders)
    damaged: list[Path] = []
    zone = partial(zone_of, host, store.settings)
    try:
        return ledger.deliver(folders, store, zone, progress.show, damaged).delivered
    finally:  # nobody tells of these again
        progress.end()
        _tell_damaged(folders, damaged)


def _tell_damaged(folders: Folders, damaged: list[Path]) -> None:
    for path in damaged[:_NAMED]:
        output.note(f"a damaged run file was set aside: {path}")
    if len(damaged) > _NAMED:
        output.note(f"so were {len(damaged) - _NAMED} more: see {folders.damaged}")


def zone_of(host: Host, settings: Settings, task: Task) -> str:
    """The zone of a schedule that names none: that of the units, which may not follow the settings yet."""
    return (task.schedule.needs_zone and host.zone_of(task.slug)) or settings.time_zone


class _Progress:
    """A line on the terminal that counts, from the second batch on."""

    def __init__(self, folders: Folders) -> None:
        self._folder = folders.done
        self._total = 0

    def show(self, seen: int) -> None:
        if seen < ledger.BATCH or not sys.stderr.isatty():
            return
        # Only now, and once: hardly ever is there a second batch.
        self._total = self._total or seen + len(os.listdir(self._folder))
        if self._total > seen:
            output.progress(f"delivering records of runs: {seen} of {self._total}")

    def end(self) -> None:
        if self._total:
            output.progress("")


def settle_dead(folders: Folders, host: Host, thorough: bool = False) -> None:
    """End the run files of runs that died without a word; one that is being changed is left alone.

    `thorough`: the manager is asked about those, too, whose process seems to live; its number may be
    another's by now.
    """
    for slug in running.slugs(folders):
        entry = running.running_entry(folders, slug)
        if entry and running.is_alive(entry) and not thorough:
            continue
        from keiji import verdict  # seldom needed, and every look would pay for it
        from keiji.locks import task_lock

        try:
            with task_lock(folders, slug, patience=0):
                verdict.settle(folders, host, slug)
        except (TaskBusy, HostFailed):
            continue
        except OSError as problem:  # the disk is full, say: its file stays, and blocks the task
            output.note(f"{slug}: how its last run ended cannot be recorded: {problem.strerror}")
