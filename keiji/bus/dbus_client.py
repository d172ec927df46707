"""The client of the service on the session bus.

It speaks through Gio alone: pydbus introspects first, and takes twice as long to import.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from keiji.bus import interface
from keiji.bus.client import PING, Absent, Client
from keiji.errors import BusUnavailable

if TYPE_CHECKING:
    from keiji.folders import Folders
    from keiji.host import Host

_ABSENT = ("org.freedesktop.DBus.Error.NameHasNoOwner", "org.freedesktop.DBus.Error.ServiceUnknown")
_GONE = ("org.freedesktop.DBus.Error.NoReply", "org.freedesktop.DBus.Error.Disconnected")


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


class DBusClient(Client):
    """Reaches the service over the session bus."""

    def __init__(self, folders: Folders, host: Host, address: Callable[[], str]) -> None:
        super().__init__(folders, host)
        self._address = address
        self._connection: Any = None

    def subscribe(self) -> Any:
        """Have the service stay up for this process; the connection that its signals come by."""
        self.ask("Subscribe")
        return self._connection

    def call(self, method: str, words: tuple[str, ...], timeout: float) -> tuple[Any, ...]:
        """One call; raises the error that came back, `Absent`, or `BusUnavailable`."""
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
            return Absent()
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
    GLib.timeout_add(int(PING * 1000), cancellable.cancel)
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
