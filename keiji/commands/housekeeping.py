"""What the hourly unit runs, and with `--startup` what runs before the timers after a boot.

`python -m keiji.commands.housekeeping [--startup]`
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from keiji import (
    arming,
    executables,
    ledger,
    logs,
    marks,
    output,
    recovery,
    running,
    session,
    stopping,
    verdict,
)
from keiji.delivering import deliver, settle_dead
from keiji.errors import HostFailed, InvalidSettings, KeijiError, StoreTooNew, StoreUnavailable, TaskBusy
from keiji.folders import Folders
from keiji.locks import task_lock
from keiji.runfile import listed
from keiji.session import Session

if TYPE_CHECKING:
    from keiji.store import Store
    from keiji.task import Task

_T = TypeVar("_T")


def startup(current: Session) -> None:
    """Record the runs that the last shutdown or a crash of the manager cut off."""
    for entry in running.clear_leftovers(current.folders, current.host.boot()):
        current.host.log(entry.task, "ERROR", f"run {entry.id} was cut off by power-off; the task goes on")
    settle_dead(current.folders, current.host, thorough=True)  # the machine stayed up and the manager did not


def keep_house(current: Session) -> None:
    """Deliver records, prune old ones, judge runs that died unseen, finish what was cut short.

    All that needs no database is done without it, too; then this raises what is the matter with it.
    """
    settle_dead(current.folders, current.host, thorough=True)
    away: KeijiError | None = None
    delivered = pruned = 0
    try:
        delivered, pruned = _keep_records(current)
    except (StoreUnavailable, StoreTooNew, InvalidSettings) as problem:
        away = problem
    finished = finish_changes(current)
    mended = mend_arming(current)
    ledger.sweep(current.folders)
    output.say(
        f"delivered {delivered} records, pruned {pruned}, "
        f"finished {len(finished)} changes that were cut short, armed {len(mended)} timers again"
    )
    if away:
        raise away


def _keep_records(current: Session) -> tuple[int, int]:
    """How many records were delivered, and how many old ones deleted."""
    with current.store() as store:
        delivered = deliver(current.host, store)
        # Never before: a run whose file waits would come back.
        pruned = store.prune(current.settings.history_days, current.settings.history_runs)
        follow_clock(current, store)
        is_recorded = partial(_is_recorded, store)
        for slug in current.host.failed():
            _with(current, slug, lambda slug: _judge_unborn(current, slug, is_recorded))
    return delivered, pruned


def follow_clock(current: Session, store: Store) -> list[str]:
    """Render the tasks anew whose units go by a clock that the machine has left, but for running ones."""
    strayed = current.host.strayed()
    if not strayed:
        return []
    stored = {task.slug: task for task in store.tasks()}
    slugs = [slug for slug in strayed if slug in stored]
    return [
        slug for slug in slugs if _with(current, slug, lambda slug: _render(current, stored[slug], strayed))
    ]


def _render(current: Session, task: Task, since: Mapping[str, float]) -> bool:
    """Write the units and have the manager read them; what was due `since` then is made up for."""
    folders, host, slug = current.folders, current.host, task.slug
    entry = running.running_entry(folders, slug)
    if entry and running.is_alive(entry):
        return False  # the next hour finds it
    located = task.evolve(schedule=task.schedule.in_zone(current.settings.time_zone))
    arming.write_units(folders, slug, host.render(located, executables.command(folders, slug)))
    if host.is_started() and arming.is_due(folders, host, slug) and host.arm([slug], since):
        raise HostFailed("its timer does not come to wait for a time")
    marks.unmark(folders, slug)
    return True


def finish_changes(current: Session) -> list[str]:
    """Bring into agreement what builds and directives left that were cut short; the tasks concerned."""
    folders, host = current.folders, current.host
    marked = marks.marked(folders)
    finished = [slug for slug in marked if _with(current, slug, lambda slug: _finish(current, slug))]
    # What no mark tells of: a power cut leaves requests, and a run that is on its way out the intent.
    for path in (*listed(folders.run / "requested"), *listed(folders.run / "stopping")):
        _with(current, path.name, lambda slug: stopping.tidy(folders, host, slug))
    return finished


def mend_arming(current: Session) -> list[str]:
    """Arm the tasks whose timers should wait and don't."""
    if not current.host.is_started():
        return []
    timers = current.host.timers(current.host.installed())
    idle = [
        slug
        for slug, timer in timers.items()
        if arming.is_due(current.folders, current.host, slug) and not timer.is_active
    ]
    return [slug for slug in idle if _with(current, slug, lambda slug: _arm(current, slug))]


def _finish(current: Session, slug: str) -> bool:
    if marks.why(current.folders, slug) is None:
        return False  # it was being changed, and now it is
    recovery.recover(current.folders, current.host, slug, current.store)
    return True


def _arm(current: Session, slug: str) -> bool:
    if arming.bring_up(current.folders, current.host, [slug]):
        raise HostFailed("its timer does not come to wait for a time")
    current.host.log(slug, "ERROR", "its timer did not wait though it should; it does now")
    return True


def _judge_unborn(current: Session, slug: str, is_recorded: Callable[[str, str], bool]) -> None:
    verdict.settle_unborn(current.folders, current.host, slug, partial(is_recorded, slug))


def _with(current: Session, slug: str, work: Callable[[str], _T]) -> _T | None:
    """Work on a task under its lock; None where that fails, which is told, or somebody is changing it."""
    try:
        with task_lock(current.folders, slug, patience=1.0):
            return work(slug)
    except TaskBusy:
        return None
    except (KeijiError, OSError) as problem:
        output.error(f"{slug}: {problem}")
        return None


def _is_recorded(store: Store, slug: str, run: str) -> bool:
    return store.find_run(slug, run) is not None


def main(arguments: list[str]) -> int:
    try:
        logs.keep_output(Folders.of(os.environ), "housekeeping")
        current = session.load(must_stop=True)
        if "--startup" in arguments:
            startup(current)
        else:
            keep_house(current)
    except (KeijiError, OSError) as problem:
        output.error(str(problem))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
