"""Who watches where no bus tells of changes: looks at a few folders' times twice a second.

One connection to the loopback socket carries one request, so that nothing can be told over it. What
changes in the system's manager alone leaves no trace in folders: it is asked, too, but seldom.
"""

from __future__ import annotations

import errno
import os
import select
import time
from collections.abc import Hashable
from pathlib import Path

from keiji.errors import HostFailed
from keiji.folders import Folders
from keiji.host import Host

_PACE = 0.5  # seconds from one look to the next
_ASK = 5.0  # seconds from one question to the manager to the next
_STDOUT = 1
# Not done/, which a look itself empties: what ends leaves running/, too.
_NAMES = ("running", "requested", "held", "stale")


class LoopbackWatcher:
    """Needs no bus service, and starts none; see `keiji.bus.Watcher`."""

    def __init__(self, folders: Folders, host: Host, stdout: int = _STDOUT) -> None:
        self._host = host
        units = {path.parent for path in host.unit_files("x")}
        self._watched = [
            *(folders.run / name for name in _NAMES),
            folders.tasks,
            folders.home / "exec" / "tasks",
            *(folder for unit in sorted(units) for folder in (unit, *unit.glob("*.wants"))),
        ]
        self._builds = folders.home / "exec" / "tasks"
        self._wakes, self._waker = os.pipe()
        os.set_blocking(self._waker, False)
        self._poll = select.poll()
        self._poll.register(self._wakes, select.POLLIN)
        self._poll.register(stdout, 0)  # that nobody reads it is told all the same
        self._stdout = stdout
        self._asked = 0.0
        self._managed: Hashable = None
        self._seen = self._look()

    def wait(self) -> None:
        while not self._is_woken():
            seen = self._look()
            if seen != self._seen:
                self._seen = seen
                return

    def wake(self) -> None:
        """Have `wait` return; for handlers of signals, too."""
        try:
            os.write(self._waker, b".")
        except BlockingIOError:
            pass  # it has enough to wake by

    def _is_woken(self) -> bool:
        """Sleep until the next look is due; whether somebody wants `wait` to return."""
        for descriptor, event in self._poll.poll(_PACE * 1000):
            if descriptor == self._wakes:
                os.read(self._wakes, 4096)
                return True
            if event & select.POLLNVAL:  # terminals of macOS can't be polled
                self._poll.unregister(self._stdout)
            elif event & (select.POLLERR | select.POLLHUP):
                raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        return False

    def _look(self) -> Hashable:
        if time.monotonic() - self._asked >= _ASK:
            self._managed = self._ask()
            self._asked = time.monotonic()
        builds = self._builds.glob("*/current") if self._builds.is_dir() else ()
        return tuple(_time(path) for path in self._watched), tuple(map(_link, sorted(builds))), self._managed

    def _ask(self) -> Hashable:
        try:
            return self._host.is_started(), *self._host.idle(self._host.installed())
        except HostFailed:
            return None  # a busy manager: the next look makes up for it


def _time(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _link(path: Path) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
