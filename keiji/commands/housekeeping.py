"""What the hourly unit runs, and with `--startup` what runs before the timers after a boot.

`python -m keiji.commands.housekeeping [--startup]`
"""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

from keiji import ledger, output, running, session, verdict
from keiji.commands import arming
from keiji.commands.delivering import deliver, settle_dead
from keiji.errors import HostFailed, KeijiError
from keiji.locks import task_lock
from keiji.session import Session

if TYPE_CHECKING:
    from keiji.store import Store


def startup(current: Session) -> None:
    """Record the runs that the last shutdown or a crash of the manager cut off."""
    for entry in running.clear_leftovers(current.folders, current.host.boot()):
        current.host.log(entry.task, "ERROR", f"run {entry.id} was cut off by power-off; the task goes on")
    settle_dead(current, thorough=True)  # the machine stayed up and the manager did not


def keep_house(current: Session) -> None:
    """Deliver records and judge runs that died unseen."""
    settle_dead(current, thorough=True)
    with current.store() as store:
        delivered = deliver(current, store)
        for slug in current.host.failed():
            _judge_unborn(current, slug, partial(_is_recorded, store, slug))
    mended = mend_arming(current)
    ledger.sweep(current.folders)
    output.say(f"delivered {delivered} records, armed {len(mended)} timers again")


def mend_arming(current: Session) -> list[str]:
    """Arm the tasks whose timers should wait and don't, because a build or an update was cut short."""
    if not current.host.is_started():
        return []
    timers = current.host.timers(current.host.installed())
    idle = [
        slug
        for slug, timer in timers.items()
        if current.folders.stale(slug).exists() or (arming.is_due(current, slug) and not timer.is_active)
    ]
    return [slug for slug in idle if _mend(current, slug)]


def _mend(current: Session, slug: str) -> bool:
    try:
        with task_lock(current.folders, slug, patience=1.0):
            if arming.bring_up(current, [slug]):
                raise HostFailed("its timer does not come to wait for a time")
    except KeijiError as problem:
        output.error(f"{slug}: {problem.message}")
        return False
    current.host.log(slug, "ERROR", "its timer did not wait though it should; it does now")
    return True


def _is_recorded(store: Store, slug: str, run: str) -> bool:
    return store.find_run(slug, run) is not None


def _judge_unborn(current: Session, slug: str, is_recorded: verdict.IsRecorded) -> None:
    try:
        with task_lock(current.folders, slug, patience=1.0):
            verdict.settle_unborn(current.folders, current.host, slug, is_recorded)
    except KeijiError as problem:
        output.error(f"{slug}: {problem.message}")


def main(arguments: list[str]) -> int:
    try:
        current = session.load()
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
