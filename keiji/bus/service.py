"""What a bus service is, whatever it is reached by: its desk, its log, how long it stays, how it ends.

All that is needed is imported at the start: after an upgrade the process must not mix old code with new.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import sys
import time
from collections.abc import Callable
from typing import Protocol

from keiji import __version__, locks, logs
from keiji.bus.desk import Desk
from keiji.errors import KeijiError
from keiji.folders import Folders
from keiji.host import Host
from keiji.store import models  # noqa: F401  loaded now, see above

IDLE = 30.0  # seconds; leaving sooner would run into the manager's start limits
_LOG = "/log"  # a lane; no task is called so


class Runs(Protocol):
    def run(self) -> None:
        """Answer until idle or told to go, and finish what is in flight."""


class Service:
    """What every transport's service has. `tell(slug, state)` is told that a task's state is another."""

    def __init__(self, folders: Folders, host: Host, idle: float, tell: Callable[[str, str], None]) -> None:
        self.desk = Desk(folders, host, self.log, tell)
        self.idle = idle
        self.is_leaving = False
        self._last = time.monotonic()
        self._logger = functools.cache(lambda: logs.service_log(folders, "bus"))

    def log(self, event: str, **fields: object) -> None:
        """Write a line of the service's own log; beside what goes on, for structlog takes long to load."""
        self.desk.lanes.put(_LOG, lambda: self._logger()(event, **fields))

    def log_start(self) -> None:
        self.log("started", version=__version__, home=str(self.desk.folders.home))

    def prolong(self) -> None:
        """Somebody called: it is not idle."""
        self._last = time.monotonic()

    def rest(self, is_wanted: bool = False) -> float:
        """Seconds until it must be asked again whether it is idle; with none left it is."""
        if is_wanted or not self.desk.lanes.are_empty:
            return self.idle
        return self._last + self.idle - time.monotonic()

    def begin_leaving(self, why: str) -> bool:
        """Whether its leaving begins by this; the reason is logged."""
        if self.is_leaving:
            return False
        self.is_leaving = True
        self.log("leaving", why=why)
        return True


def main(program: str, name: str, make: Callable[[Folders, float], Runs]) -> None:
    """Serve until idle; exit status 1 when the service can't be, with `name` and the reason."""
    parser = argparse.ArgumentParser(prog=program)
    parser.add_argument("--idle", type=float, default=IDLE, help="leave after that many idle seconds")
    idle = parser.parse_args().idle
    locks.allow_many()
    try:
        folders = Folders.of(os.environ)
        logs.keep_output(folders, "bus")
        service = make(folders, idle)
    except (RuntimeError, OSError, KeijiError) as problem:  # a GLib.Error is a RuntimeError
        sys.exit(f"{name}: {problem}")
    service.run()
    # The lanes' threads are idle, and Python would take its modules apart one by one.
    with contextlib.suppress(OSError):  # the journal may be gone
        sys.stderr.flush()
    os._exit(0)
