"""After a crash: bringing units, latch and record of a task into agreement, whatever was being done to it.

A mark tells that something was (`marks`). What is true stands in the unit files' links and the latch; the
manager follows them. A deletion that was begun is finished.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from keiji import arming, deleting, marks, stopping, verdict
from keiji.directives import Verb
from keiji.folders import Folders
from keiji.host import Host

if TYPE_CHECKING:
    from keiji.store import Store

OpenStore = Callable[[], "AbstractContextManager[Store]"]


def recover(folders: Folders, host: Host, slug: str, open_store: OpenStore) -> bool:
    """Finish or tidy what was cut short, if anything was; whether the task is deleted by that.

    Costs one look at a file where nothing was. The caller holds the task's lock. Raises `HostFailed`, and
    `StoreUnavailable` where a deletion can't be finished; the mark then stays.
    """
    why = marks.why(folders, slug)
    if why is None:
        return False
    if why == Verb.DELETE:
        with open_store() as store:
            deleting.delete(folders, host, slug, store)
        deleting.clear(folders, host, slug)
        return True
    verdict.settle(folders, host, slug)
    stopping.tidy(folders, host, slug)
    if host.is_installed(slug):
        arming.bring_up(folders, host, [slug])
        host.log(slug, "ERROR", f"{why or 'a build'} was cut short; manager and latch agree again")
    elif why != marks.UNITS:  # somebody has removed the units
        marks.unmark(folders, slug)
    return False


def finish_directive(folders: Folders, host: Host, slug: str, open_store: OpenStore) -> bool:
    """`recover` for a build or an update, which bring to an end by themselves what is marked `UNITS`."""
    return bool(marks.why(folders, slug)) and recover(folders, host, slug, open_store)
