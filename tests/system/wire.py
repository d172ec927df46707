"""The session bus as another program sees it, for tests: calls, signals, errors by their names."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any

from gi.repository import Gio, GLib

NAME = "io.keiji.Bus1"
PATH = "/io/keiji/Bus1"
UNIT = "io.keiji.Bus1.service"
SOON = 30.0  # seconds until a test gives up
_DAEMON = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")


class WireError(Exception):
    """What a call was answered with: the error's name and message."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"{name}: {message}")
        self.name = name
        self.message = message


@dataclass
class Signal:
    """A signal and when it came (seconds, the clock's)."""

    name: str
    words: tuple[Any, ...]
    at: float


class Wire:
    """A connection of its own."""

    def __init__(self) -> None:
        flags = Gio.DBusConnectionFlags
        self.connection = Gio.DBusConnection.new_for_address_sync(
            os.environ["DBUS_SESSION_BUS_ADDRESS"],
            flags.AUTHENTICATION_CLIENT | flags.MESSAGE_BUS_CONNECTION,
            None,
            None,
        )
        self.connection.set_exit_on_close(False)
        self.signals: list[Signal] = []

    def call(self, method: str, *words: str, start: bool = True, timeout: float = SOON) -> tuple[Any, ...]:
        """The answer; raises `WireError`. `start`: whether the service may be started for it."""
        flags = Gio.DBusCallFlags.NONE if start else Gio.DBusCallFlags.NO_AUTO_START
        arguments = GLib.Variant("(" + "s" * len(words) + ")", words)
        return self._call(NAME, PATH, NAME, method, arguments, flags, timeout)

    def raw(self, method: str, arguments: Any) -> tuple[Any, ...]:
        """A call with whatever arguments."""
        return self._call(NAME, PATH, NAME, method, arguments, Gio.DBusCallFlags.NONE, SOON)

    def get(self, name: str) -> Any:
        """A property."""
        arguments = GLib.Variant("(ss)", (NAME, name))
        properties = "org.freedesktop.DBus.Properties"
        return self._call(NAME, PATH, properties, "Get", arguments, Gio.DBusCallFlags.NONE, SOON)[0]

    def owner(self) -> str:
        """The unique name of the running service, or empty; starts nothing."""
        arguments = GLib.Variant("(s)", (NAME,))
        try:
            return str(self._call(*_DAEMON, "GetNameOwner", arguments, Gio.DBusCallFlags.NONE, SOON)[0])
        except WireError:
            return ""

    def introspect(self) -> str:
        return str(
            self._call(
                NAME,
                PATH,
                "org.freedesktop.DBus.Introspectable",
                "Introspect",
                None,
                Gio.DBusCallFlags.NONE,
                SOON,
            )[0]
        )

    def listen(self) -> None:
        """Collect the service's signals in `signals`, while `wait` is called."""
        self.connection.signal_subscribe(
            NAME, None, None, PATH, None, Gio.DBusSignalFlags.NONE, lambda *it: self._came(it[4], it[5])
        )
        self.call("Ping")  # the bus has the subscription when this is answered

    def wait(self, is_enough: Any, what: str) -> None:
        """Let signals come until `is_enough(self.signals)`."""
        give_up = time.monotonic() + SOON
        while not is_enough(self.signals):
            assert time.monotonic() < give_up, f"waited in vain for {what}: {self.signals}"
            wake = GLib.timeout_add(100, lambda: True)
            GLib.MainContext.default().iteration(True)
            GLib.source_remove(wake)

    def close(self) -> None:
        self.connection.close_sync(None)

    def _came(self, name: str, words: Any) -> None:
        self.signals.append(Signal(name, tuple(words.unpack()), time.time()))

    def _call(
        self, name: str, path: str, interface: str, method: str, arguments: Any, flags: Any, timeout: float
    ) -> tuple[Any, ...]:
        try:
            answer = self.connection.call_sync(
                name, path, interface, method, arguments, None, flags, int(timeout * 1000), None
            )
        except GLib.Error as problem:
            said = Gio.DBusError.get_remote_error(problem) or problem.domain
            raise WireError(said, problem.message.removeprefix(f"GDBus.Error:{said}: ")) from None
        return tuple(answer.unpack())
