"""Every look delivers: what the run files say goes into the database before it is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from keiji import ledger, output, running, verdict
from keiji.errors import HostFailed, TaskBusy
from keiji.locks import task_lock
from keiji.session import Session

if TYPE_CHECKING:
    from keiji.store import Store


def deliver(session: Session, store: Store) -> int:
    """Deliver the records of ended runs, those of dead ones too; how many there were.

    Damaged run files are set aside and named.
    """
    settle_dead(session)
    delivery = ledger.deliver(session.folders, store, session.settings.time_zone)
    for path in delivery.damaged:
        output.note(f"a damaged run file was set aside: {path}")
    return delivery.delivered


def settle_dead(session: Session, thorough: bool = False) -> None:
    """End the run files of runs that died without a word; one that is being changed is left alone.

    `thorough`: the manager is asked about those, too, whose process seems to live; its number may be
    another's by now.
    """
    for entry in running.running(session.folders):
        if running.is_alive(entry) and not thorough:
            continue
        try:
            with task_lock(session.folders, entry.task, patience=0):
                verdict.settle(session.folders, session.host, entry.task)
        except (TaskBusy, HostFailed):
            continue
