"""The one place that asks which system this is: which host, which transport."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from keiji.errors import UnsupportedHere

if TYPE_CHECKING:
    from keiji.bus import Bus, Watcher
    from keiji.bus.dbus_client import DBusClient
    from keiji.bus.following import Units
    from keiji.folders import Folders
    from keiji.host import Host


def host_name() -> str:
    """``linux`` or ``macos``; ``KEIJI_HOST`` says which to act as."""
    name = os.environ.get("KEIJI_HOST") or _machine()
    if name not in ("linux", "macos"):
        raise UnsupportedHere(f"KEIJI_HOST={name}: linux or macos is allowed")
    return name


def is_acted() -> bool:
    """Whether keiji acts as a host that this machine is not; tests do."""
    return host_name() != _machine()


def _machine() -> str:
    return "macos" if sys.platform == "darwin" else "linux"


def passed_on() -> dict[str, str]:
    """What keiji's own services must have in their environment so that they act as this process does."""
    names = ("KEIJI_HOST", "KEIJI_BUS", "PATH") if is_acted() else ()
    return {name: os.environ[name] for name in names if name in os.environ}


def host(folders: Folders) -> Host:
    """The manager of this machine."""
    carrier = transport()
    if host_name() == "linux":
        from keiji.systemd.manager import SystemdHost

        if carrier == "dbus":
            return SystemdHost(folders)
        from keiji.bus import loopback_client

        return SystemdHost(folders, ask_bus=lambda: loopback_client.ping(folders))
    from keiji.bus import loopback_client, loopback_key
    from keiji.launchd.manager import LaunchdHost

    return LaunchdHost(folders, lambda: loopback_client.ping(folders), lambda: loopback_key.choose(folders))


def unit_signals() -> Units:
    """What tells the bus service of changes to units; only on Linux is there one that needs it."""
    from keiji.systemd.signals import UnitSignals

    return UnitSignals()


def transport() -> str:
    """``dbus`` or ``loopback``: by what directives travel; ``KEIJI_BUS`` says by which."""
    name = os.environ.get("KEIJI_BUS") or ("dbus" if host_name() == "linux" else "loopback")
    if name not in ("dbus", "loopback"):
        raise UnsupportedHere(f"KEIJI_BUS={name}: dbus or loopback is allowed")
    if name == "dbus" and host_name() == "macos":
        raise UnsupportedHere("KEIJI_BUS=dbus: macOS has no session bus, only loopback is allowed")
    return name


def bus(folders: Folders, host: Host) -> Bus:
    """How directives travel. Connects to nothing yet."""
    if transport() == "loopback":
        from keiji.bus.loopback_client import LoopbackClient

        return LoopbackClient(folders, host)
    return _dbus_client(folders, host)


def watcher(folders: Folders, host: Host) -> Watcher:
    """Who is told of changes, by the session bus where there is one.

    Connects to that at once; raises `BusUnavailable`.
    """
    if transport() == "loopback":
        from keiji.bus.loopback_watcher import LoopbackWatcher

        return LoopbackWatcher(folders, host)
    from keiji.bus.dbus_watcher import DBusWatcher

    return DBusWatcher(_dbus_client(folders, host))


def _dbus_client(folders: Folders, host: Host) -> DBusClient:
    from keiji.bus.dbus_client import DBusClient
    from keiji.systemd.systemctl import bus_address

    return DBusClient(folders, host, bus_address)
