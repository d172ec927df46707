"""Who waits for the service's signals on the session bus; sleeps in GLib's main loop until one comes."""

from __future__ import annotations

import errno
import os
import time
from collections import deque
from typing import Any, Protocol

from keiji.bus import interface
from keiji.bus.glib import Gio, GLib
from keiji.errors import BusUnavailable

_DAEMON, _DAEMON_PATH = "org.freedesktop.DBus", "/org/freedesktop/DBus"
_STDOUT = 1
_LOSSES, _WHILE = 5, 60.0  # so many in so many seconds, and the service is given up


class Client(Protocol):
    def subscribe(self) -> Any:
        """Have the service stay up for this process; the connection that its signals come by."""


class DBusWatcher:
    """Subscribes at once, and again when the service is another; see `keiji.bus.Watcher`.

    The callbacks only take notes: what takes time, or may fail, is done between two turns of the loop.
    """

    def __init__(self, client: Client, stdout: int = _STDOUT) -> None:
        self._client = client
        self._connection: Any = None
        self._loop = GLib.MainLoop()
        self._is_told = self._is_lost = self._is_left = False
        self._losses: deque[float] = deque(maxlen=_LOSSES)
        self._stdout = stdout
        self._subscribe()

    def wait(self) -> None:
        broken = GLib.IOCondition.ERR | GLib.IOCondition.HUP
        reader = GLib.io_add_watch(self._stdout, GLib.PRIORITY_DEFAULT, broken, self._left)
        try:
            self._wait()
        finally:
            GLib.source_remove(reader)

    def wake(self) -> None:
        """Have `wait` return; for handlers of signals, too."""
        GLib.idle_add(self._told, priority=GLib.PRIORITY_DEFAULT)  # also if the loop does not turn yet

    def _wait(self) -> None:
        while not self._is_told:
            if self._is_left:
                raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
            if self._is_lost:
                self._count_loss()
                self._subscribe()
                break  # of what happened meanwhile nobody tells
            self._loop.run()
        self._is_told = False

    # -- the service ---------------------------------------------------------------------------

    def _subscribe(self) -> None:
        self._is_lost = False
        while (connection := self._client.subscribe()) is not self._connection:
            self._connection = connection
            self._listen()  # only now; so the other end is asked once more

    def _listen(self) -> None:
        none = Gio.DBusSignalFlags.NONE
        for signal in interface.SIGNALS:
            self._connection.signal_subscribe(
                interface.NAME, interface.NAME, signal, interface.PATH, None, none, self._told
            )
        self._connection.signal_subscribe(
            _DAEMON, _DAEMON, "NameOwnerChanged", _DAEMON_PATH, interface.NAME, none, self._owner_changed
        )
        self._connection.connect("closed", self._lost)

    def _count_loss(self) -> None:
        self._losses.append(time.monotonic())
        if len(self._losses) == _LOSSES and self._losses[-1] - self._losses[0] < _WHILE:
            raise BusUnavailable("the bus ends again and again: see `keiji system logs --bus`")

    # -- callbacks -----------------------------------------------------------------------------

    def _told(self, *_: object) -> bool:
        self._is_told = True
        self._loop.quit()
        return False

    def _owner_changed(
        self, connection: Any, sender: str, path: str, of: str, signal: str, said: Any
    ) -> None:
        _, old, _ = said.unpack()
        if old:
            self._lost()

    def _lost(self, *_: object) -> None:
        self._is_lost = True
        self._loop.quit()

    def _left(self, *_: object) -> bool:
        self._is_left = True
        self._loop.quit()
        return True  # it is removed where it was added
