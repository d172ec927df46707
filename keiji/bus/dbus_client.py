"""The client of the service on the session bus.

It speaks through Gio alone: pydbus introspects first, and takes twice as long to import. The service is
never started by the message bus here, but by the manager: when it can't start, only the manager says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from keiji import __version__
from keiji.bus import interface
from keiji.directives import Directive, Reply
from keiji.errors import BusUnavailable, UsageError
from keiji.task import slug_of

if TYPE_CHECKING:
    from keiji.folders import Folders
    from keiji.host import Host

_PING = 5.0  # seconds; whoever is alive answers that at once
_DIRECTIVE = 180.0  # seconds; a stop waits for the run's end, and others may be before it
_PATIENCE = 20.0  # seconds in which a service that was started must be found; it may be leaving just then
_PAUSE = 0.01
_ABSENT = ("org.freedesktop.DBus.Error.NameHasNoOwner", "org.freedesktop.DBus.Error.ServiceUnknown")
_GONE = ("org.freedesktop.DBus.Error.NoReply", "org.freedesktop.DBus.Error.Disconnected")


class _Absent(Exception):
    """Nobody has the service's name."""


class _Done:
    """The end of one asynchronous call; a loop that waits for it hears Ctrl-C, a blocking call doesn't."""

    def __init__(self) -> None:
        from gi.repository import GLib

        self._loop = GLib.MainLoop()
        self._result: Any = None

    def call(self, _: Any, result: Any) -> None:
        self._result = result
        self._loop.quit()

    def wait(self) -> Any:
        """The result, which the call's `finish` takes."""
        self._loop.run()
        return self._result


class DBusClient:
    """Sends directives to the service, which is started where it doesn't run."""

    def __init__(self, folders: Folders, host: Host, address: Callable[[], str]) -> None:
        self.folders = folders
        self.host = host
        self._address = address
        self._connection: Any = None

    def send(self, directive: Directive) -> Reply:
        """Have a directive carried out; raises what the dispatcher raises, and `BusUnavailable`."""
        slug = slug_of(directive.task)  # what is no name needs no service to say so
        try:
            reply = self._ask(directive.verb.value.capitalize(), directive.task)
        except BusUnavailable as problem:
            by_hand = f"without it, `{self.host.by_hand(slug)}` stops the task"
            raise BusUnavailable(f"{problem}\n{by_hand}") from None
        return Reply(*reply)

    def subscribe(self) -> Any:
        """Have the service stay up for this process; the connection that its signals come by."""
        self._ask("Subscribe")
        return self._connection

    def _ask(self, method: str, *words: str) -> tuple[Any, ...]:
        while True:
            self.make_ready()
            try:
                return self._call(method, words, _DIRECTIVE)
            except _Absent:
                continue  # it left between the two calls

    # -- the right service ---------------------------------------------------------------------

    def make_ready(self) -> None:
        """See that a service of this version and these folders answers; raises `BusUnavailable`."""
        if self._version() == __version__:
            return
        self.host.stop_bus()  # it finishes what is in flight
        version = self._version()
        if version != __version__:
            files = self.host.bus_files()
            said = f"{' and '.join(files)} {'is' if len(files) == 1 else 'are'} in the way"
            raise BusUnavailable(
                f"the bus is keiji {version} and this is {__version__}: {said}; "
                "`keiji system update` writes keiji's own anew"
            )

    def _version(self) -> str:
        """Which version answers; one for other folders is refused, and left alone."""
        version, home = self._ping()
        if home != str(self.folders.home):
            raise UsageError(
                f"the bus that runs here serves the keiji in {home}: use that one (KEIJI_HOME={home})"
            )
        return version

    def _ping(self) -> tuple[str, str]:
        give_up = time.monotonic() + _PATIENCE
        pause = 0.0
        while True:
            try:
                version, home = self._call("Ping", (), _PING)
                return version, home
            except _Absent:
                if time.monotonic() > give_up:
                    raise BusUnavailable(
                        "the bus was started and is not there: see `keiji system logs --bus`"
                    ) from None
            time.sleep(pause)
            self.host.start_bus()
            pause = 0.01  # the manager may not have seen yet that it left

    # -- the wire ------------------------------------------------------------------------------

    def _call(self, method: str, words: tuple[str, ...], timeout: float) -> tuple[Any, ...]:
        """One call; raises the error that came back, `_Absent`, or `BusUnavailable`."""
        from gi.repository import Gio, GLib

        if self._connection is None:
            self._connection = _connect(self._address())
        done = _Done()
        arguments = GLib.Variant("(" + "s" * len(words) + ")", words)
        self._connection.call(
            interface.NAME,
            interface.PATH,
            interface.NAME,
            method,
            arguments,
            None,
            Gio.DBusCallFlags.NO_AUTO_START,
            int(timeout * 1000),
            None,
            done.call,
        )
        try:
            return tuple(self._connection.call_finish(done.wait()).unpack())
        except GLib.Error as problem:
            raise self._error(problem, timeout) from None

    def _error(self, problem: Any, timeout: float) -> Exception:
        from gi.repository import Gio

        if problem.matches(Gio.io_error_quark(), Gio.IOErrorEnum.TIMED_OUT):
            return BusUnavailable(
                f"the bus did not answer within {timeout:.0f} s: `keiji system restart --bus` starts it anew"
            )
        name = Gio.DBusError.get_remote_error(problem)
        if name in _ABSENT:
            return _Absent()
        message = problem.message.removeprefix(f"GDBus.Error:{name}: ")
        if name is None or name in _GONE:
            self._connection = None
            return BusUnavailable(
                f"the bus ended before it answered ({message}): `keiji task list` shows what is done, "
                "`keiji system logs --bus` why"
            )
        return interface.error_from(name, message)


def _connect(address: str) -> Any:
    """The session bus; raises `BusUnavailable` where none answers."""
    from gi.repository import Gio, GLib

    from keiji import remedies

    flags = Gio.DBusConnectionFlags
    cancellable = Gio.Cancellable()
    done = _Done()
    GLib.timeout_add(int(_PING * 1000), cancellable.cancel)
    Gio.DBusConnection.new_for_address(
        address,
        flags.AUTHENTICATION_CLIENT | flags.MESSAGE_BUS_CONNECTION,
        None,
        cancellable,
        done.call,
    )
    try:
        connection = Gio.DBusConnection.new_for_address_finish(done.wait())
    except GLib.Error as problem:
        raise BusUnavailable(
            f"no session bus answers at {address} ({problem.message}): log in as the user, "
            f"or run `{remedies.linger()}`"
        ) from None
    connection.set_exit_on_close(False)
    return connection
