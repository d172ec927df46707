"""What the user manager tells of timers, and what befalls the unit files, as the slugs of tasks.

https://www.freedesktop.org/software/systemd/man/latest/org.freedesktop.systemd1.html
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keiji.bus.glib import Gio, GLib
from keiji.monitors import Monitor
from keiji.systemd import arming, names

_NAME, _PATH = "org.freedesktop.systemd1", "/org/freedesktop/systemd1"
_MANAGER, _TIMER = f"{_NAME}.Manager", f"{_NAME}.Timer"
_DAEMON, _DAEMON_PATH = "org.freedesktop.DBus", "/org/freedesktop/DBus"
_PROPERTIES = "org.freedesktop.DBus.Properties"
_PATIENCE = 2000  # milliseconds; a manager that is reloading answers when it is done
_NO_FLAGS = 0


class UnitSignals:
    """Calls `changed(slug)` in the main loop when a task may be armed, disarmed, enabled or gone.

    Without a session bus, or without the manager on it, the unit files alone are watched; when the manager
    comes (again), every task is told.
    """

    def __init__(self) -> None:
        self._changed: Callable[[str], None] = lambda slug: None
        self._bus: Any = None
        self._subscriptions: list[int] = []
        self._monitors: list[Monitor] = []

    def start(self, changed: Callable[[str], None]) -> None:
        """Listen from now on; called in the main loop's thread."""
        self._changed = changed
        folder = names.unit_folder()
        for watched in (folder, folder / f"{names.TARGET}.wants"):
            self._monitors.append(Monitor(watched, self._file_touched))
        try:
            self._bus = Gio.bus_get_sync(Gio.BusType.SESSION, None)
        except GLib.Error:
            return
        self._listen(_DAEMON, _DAEMON, "NameOwnerChanged", _DAEMON_PATH, _NAME, self._owner_changed)
        # A timer is started and stopped by jobs; else it can only fail.
        self._listen(_NAME, _MANAGER, "JobRemoved", _PATH, None, self._job_removed)
        self._listen(_NAME, _MANAGER, "Reloading", _PATH, None, self._reloading)
        self._listen(_NAME, _PROPERTIES, "PropertiesChanged", None, _TIMER, self._timer_changed)
        try:
            # Waits for the answer: once this returns, nothing is missed.
            self._bus.call_sync(*self._subscribe(), _PATIENCE, None)
        except GLib.Error:
            return  # no manager is there yet, or it has us subscribed

    def stop(self) -> None:
        """Tell nothing any more."""
        while self._subscriptions:
            self._bus.signal_unsubscribe(self._subscriptions.pop())
        while self._monitors:
            self._monitors.pop().stop()

    def _listen(
        self, sender: str, interface: str, signal: str, path: str | None, first: str | None, told: Any
    ) -> None:
        def unpacked(connection: Any, name: str, path: str, of: str, signal: str, said: Any) -> None:
            told(*said.unpack())

        self._subscriptions.append(
            self._bus.signal_subscribe(sender, interface, signal, path, first, _NO_FLAGS, unpacked)
        )

    def _subscribe(self) -> tuple[Any, ...]:
        return _NAME, _PATH, _MANAGER, "Subscribe", None, None, Gio.DBusCallFlags.NO_AUTO_START

    def _owner_changed(self, name: str, old: str, new: str) -> None:
        if new:
            self._bus.call(*self._subscribe(), _PATIENCE, None, lambda *_: self._all_changed())

    def _job_removed(self, number: int, job: str, unit: str, result: str) -> None:
        for slug in names.slugs([unit]):
            self._changed(slug)

    def _reloading(self, has_begun: bool) -> None:
        if not has_begun:
            self._all_changed()

    def _timer_changed(self, interface: str, values: dict[str, Any], invalidated: list[str]) -> None:
        if values.get("Result", "success") != "success":
            self._all_changed()  # it happens too seldom to find out which

    def _file_touched(self, name: str, _: bool) -> None:
        for slug in names.slugs([name]):
            self._changed(slug)

    def _all_changed(self) -> None:
        for slug in names.slugs(arming.listed(names.unit_folder())):
            self._changed(slug)
