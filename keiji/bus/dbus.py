"""The service on the session bus: `python -m keiji.bus.dbus [--idle SECONDS]`.

Started on demand by the manager, and gone again when idle. The main loop only takes calls and tells
signals; what takes time is done at the desk.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from keiji import __version__, platforms
from keiji.bus import interface, service
from keiji.bus.following import Following
from keiji.bus.glib import Gio, GLib
from keiji.directives import Directive, Verb
from keiji.errors import KeijiError
from keiji.folders import Folders
from keiji.records import FIELDS

try:
    from pydbus import SessionBus
    from pydbus.generic import signal as dbus_signal
    from pydbus.registration import ObjectRegistration, ObjectWrapper
except ImportError:
    if platforms.transport() == "dbus":
        raise
    ObjectWrapper, dbus_signal = object, object  # macOS imports all modules; it never runs this one

_GRACE = 50  # milliseconds in which calls that were on their way to the name still arrive
_PATIENCE = 5000  # milliseconds for the message bus itself
_DAEMON = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
_VERBS = {verb.value.capitalize(): verb for verb in Verb}
_FIELDS = {**FIELDS, "State": "state", "Host": "host"}


@cache
def _owns_calls() -> bool:
    """Whether GLib hands each call over with a reference that PyGObject does not know of, as until 2.84.

    https://docs.gtk.org/gio/method.DBusConnection.register_object_with_closures2.html
    """
    return GLib.check_version(2, 84, 0) is not None


class Published:
    """What pydbus publishes; the signals are called to be emitted."""

    dbus = interface.xml()
    Version = __version__
    TaskChanged = dbus_signal()
    RunFinished = dbus_signal()
    PropertiesChanged = dbus_signal()

    def __init__(self, service: DBusService) -> None:
        self._service = service

    @property
    def Tasks(self) -> list[str]:
        return self._service.desk.slugs()


class Calls(ObjectWrapper):  # type: ignore[misc]
    """Hands calls on: pydbus itself answers when the method returns, one call at a time."""

    def __init__(self, service: DBusService, published: Published, interfaces: list[Any]) -> None:
        super().__init__(published, interfaces)
        self.service = service

    def call_method(
        self, connection: Any, sender: str, path: str, of: str, method: str, parameters: Any, invocation: Any
    ) -> None:
        if _owns_calls():
            invocation._unref()  # else neither the call nor what it says is ever freed
        if of == interface.NAME:
            self.service.call(method, sender, parameters.unpack(), invocation)
        else:
            super().call_method(connection, sender, path, of, method, parameters, invocation)


class DBusService(service.Service):
    """One process's presence on the bus."""

    def __init__(self, folders: Folders, idle: float) -> None:
        super().__init__(folders, platforms.host(folders), idle, self._tell_state)
        self.loop = GLib.MainLoop()
        self.bus = SessionBus()
        self._watchers: dict[str, int] = {}  # unique name → subscription to its leaving
        self._tasks = self.desk.slugs()
        self._is_to_list = False
        node = Gio.DBusNodeInfo.new_for_xml(Published.dbus)
        self.published = Published(self)
        wrapper = Calls(self, self.published, node.interfaces)
        # The object is there before the name is, so that the first call finds it.
        self._registration = ObjectRegistration(
            self.bus, interface.PATH, node.interfaces, wrapper, own_wrapper=True
        )
        self.bus.request_name(interface.NAME)
        self._following = Following(
            folders, platforms.unit_signals(), self._changed, self._finished, self.desk.find_run
        )

    def run(self) -> None:
        """Answer until idle or told to go."""
        for number in (signal.SIGTERM, signal.SIGINT):
            GLib.unix_signal_add(GLib.PRIORITY_HIGH, number, self._told_to_go)
        self._look_again_in(self.idle)
        self._following.start()
        self.desk.learn_states()
        self.log_start()
        self.desk.deliver_soon()
        self.loop.run()
        with contextlib.suppress(GLib.Error):  # the session bus may be gone
            self.bus.con.flush_sync(None)

    def call(self, method: str, sender: str, arguments: tuple[Any, ...], invocation: Any) -> None:
        """Take one call; it is answered when it is done."""
        self.prolong()
        desk = self.desk
        if method in _VERBS:
            (task,) = arguments
            directive = lambda: Directive(_VERBS[method], task, self._run_of(sender))  # noqa: E731
            desk.direct(directive, task, _answer(invocation, "(ss)", lambda it: (it.message, it.run)))
        elif method == "ListTasks":
            desk.ask(
                desk.records, _answer(invocation, "(aa{sv})", lambda it: ([_record(one) for one in it],))
            )
        elif method == "GetTask":
            ask = lambda: desk.record(*arguments)  # noqa: E731
            desk.ask(ask, _answer(invocation, "(a{sv})", lambda it: (_record(it),)))
        elif method == "Ping":
            invocation.return_value(GLib.Variant("(ss)", desk.version_and_home()))
        else:
            {"Subscribe": self._subscribe, "Unsubscribe": self._unsubscribe, "Shutdown": self._shut_down}[
                method
            ](sender)
            invocation.return_value(None)

    # -- signals, told from the main loop ------------------------------------------------------

    def _changed(self, slug: str) -> None:
        self.desk.look_again_at(slug)
        if not self._is_to_list:  # once for many: a reload of the manager concerns each task
            self._is_to_list = True
            GLib.idle_add(self._list)

    def _list(self) -> bool:
        self._is_to_list = False
        tasks = self.desk.slugs()
        if tasks != self._tasks:
            self._tasks = tasks
            self.published.PropertiesChanged(interface.NAME, {"Tasks": tasks}, [])
        return False

    def _tell_state(self, slug: str, state: str) -> None:
        GLib.idle_add(self.published.TaskChanged, slug, state, priority=GLib.PRIORITY_DEFAULT)

    def _finished(self, slug: str, run: str, result: str) -> None:
        self.published.RunFinished(slug, run, result)
        self.desk.deliver_soon()

    # -- watchers ------------------------------------------------------------------------------

    def _subscribe(self, sender: str) -> None:
        if sender in self._watchers:
            return
        self._watchers[sender] = self.bus.con.signal_subscribe(
            _DAEMON[0],
            _DAEMON[2],
            "NameOwnerChanged",
            _DAEMON[1],
            sender,
            Gio.DBusSignalFlags.NONE,
            lambda *_: self._unsubscribe(sender),
        )
        # It may have left before its leaving was listened to.
        self._if_gone(sender, lambda: self._unsubscribe(sender))

    def _unsubscribe(self, sender: str) -> None:
        subscription = self._watchers.pop(sender, None)
        if subscription is not None:
            self.bus.con.signal_unsubscribe(subscription)
            self.prolong()

    def _if_gone(self, name: str, then: Callable[[], None]) -> None:
        def told(connection: Any, result: Any) -> None:
            try:
                is_there = connection.call_finish(result).unpack()[0]
            except GLib.Error:
                return
            if not is_there:
                then()

        words, kind = GLib.Variant("(s)", (name,)), GLib.VariantType("(b)")
        self.bus.con.call(*_DAEMON, "NameHasOwner", words, kind, 0, _PATIENCE, None, told)

    # -- leaving -------------------------------------------------------------------------------

    def _look_again_in(self, seconds: float) -> None:
        GLib.timeout_add(int(seconds * 1000) + 1, self._leave_if_idle)

    def _leave_if_idle(self) -> bool:
        rest = self.rest(is_wanted=bool(self._watchers))
        if rest > 0:
            self._look_again_in(rest)
        else:
            self._leave("idle")
        return False

    def _told_to_go(self) -> bool:
        self._leave("told to go")
        return True  # another such signal, as the manager sends when the name is gone, changes nothing

    def _shut_down(self, sender: str) -> None:
        self._leave("asked to shut down")

    def _leave(self, why: str) -> None:
        """Give the name back, finish what is in flight, and only then quit."""
        if not self.begin_leaving(why):
            return
        with contextlib.suppress(GLib.Error):  # the session bus may be gone, and the name with it
            self._ask_daemon("ReleaseName", interface.NAME, "(u)")  # pydbus would wait for ever
        GLib.timeout_add(_GRACE, self._quit_when_done)

    def _quit_when_done(self) -> bool:
        if self.desk.lanes.are_empty:
            self.loop.quit()
            return False
        return True

    # -- parts ---------------------------------------------------------------------------------

    def _ask_daemon(self, method: str, name: str, kind: str) -> Any:
        """What the message bus itself says of a name; raises `GLib.Error`."""
        words = GLib.Variant("(s)", (name,))
        answer = self.bus.con.call_sync(*_DAEMON, method, words, GLib.VariantType(kind), 0, _PATIENCE, None)
        return answer.unpack()[0]

    def _run_of(self, sender: str) -> str:
        """The id of the run from inside which the caller calls, if any."""
        try:
            pid = self._ask_daemon("GetConnectionUnixProcessID", sender, "(u)")
            entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except (GLib.Error, OSError):
            return ""  # it has left
        said = (entry.decode(errors="replace").partition("=") for entry in entries)
        return next((value for name, _, value in said if name == "INVOCATION_ID"), "")


def _answer(invocation: Any, kind: str, unpack: Any) -> Any:
    """A function that answers the call with a value, or with an error of its own name."""

    def answer(value: Any, problem: Exception | None) -> None:
        if problem is None:
            try:
                invocation.return_value(GLib.Variant(kind, unpack(value)))
                return
            except (TypeError, ValueError) as unsayable:
                problem = unsayable
        invocation.return_dbus_error(interface.error_name(problem), _sayable(_message(problem)))

    return answer


def _message(problem: Exception) -> str:
    return problem.message if isinstance(problem, KeijiError) else f"{type(problem).__name__}: {problem}"


def _record(fields: dict[str, Any]) -> dict[str, Any]:
    """A record as D-Bus has it: field → variant; times as text, empty where there is none."""
    return {name: _variant(fields[key]) for name, key in _FIELDS.items()}


def _variant(value: Any) -> Any:
    if isinstance(value, bool):
        return GLib.Variant("b", value)
    if isinstance(value, int):
        return GLib.Variant("x", value)
    return GLib.Variant("s", _sayable(value or ""))


def _sayable(text: str) -> str:
    """What D-Bus can carry: UTF-8 without NUL."""
    return text.encode(errors="backslashreplace").decode().replace("\0", "\\0")


def main() -> None:
    """Serve until idle; exit status 1 when the bus can't be had."""
    service.main("keiji.bus.dbus", interface.NAME, DBusService)


if __name__ == "__main__":
    main()
