"""The socket that the service takes calls from: handed over by systemd or by launchd, or bound here."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from collections.abc import MutableMapping

from keiji.errors import BusUnavailable

HOST = "127.0.0.1"
_FIRST = 3  # the first descriptor that systemd hands over: sd_listen_fds(3)
_WAITING = 64  # connections that the system keeps until they are accepted
_LIBRARY = "/usr/lib/libSystem.B.dylib"
_NAME = b"Bus"  # of the socket in the agent's plist


def listener(environ: MutableMapping[str, str], port: int = 0, library: str = _LIBRARY) -> socket.socket:
    """Whatever there is to listen on; a free port where nothing is handed over and `port` is taken.

    Raises `BusUnavailable` when what is handed over is no listener on 127.0.0.1 alone.
    """
    found = from_systemd(environ)
    if found is None:
        found = from_launchd(library)
    if found is None:
        return bound(port)
    return _checked(found)


def from_systemd(environ: MutableMapping[str, str]) -> socket.socket | None:
    """The one socket that was handed over to this process; children must not take it for theirs."""
    pid, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()):
        return None
    if count != "1":
        raise BusUnavailable(f"{count} sockets are handed over to the bus, and it has use for one")
    try:
        return _own(_FIRST)
    except OSError as problem:
        raise BusUnavailable(f"no socket is handed over to the bus: {problem.strerror}") from None


def from_launchd(library: str = _LIBRARY) -> socket.socket | None:
    """The one socket that the agent's plist names (launch_activate_socket(3)); None where there is none."""
    try:
        lib = ctypes.CDLL(library)
        activate, free = lib.launch_activate_socket, lib.free
    except (OSError, AttributeError):
        return None  # another system
    numbers, count = ctypes.POINTER(ctypes.c_int)(), ctypes.c_size_t()
    activate.argtypes = [
        ctypes.c_char_p,
        ctypes.POINTER(ctypes.POINTER(ctypes.c_int)),
        ctypes.POINTER(ctypes.c_size_t),
    ]
    activate.restype = ctypes.c_int
    free.argtypes, free.restype = [ctypes.c_void_p], None  # else the pointer would be cut to an int
    # The error is what it returns; errno isn't set.
    failure = activate(_NAME, ctypes.byref(numbers), ctypes.byref(count))
    if failure in (errno.ESRCH, errno.ENOENT):
        return None  # not run by launchd, or by a plist without the socket
    if failure:
        raise BusUnavailable(f"launchd hands no socket over to the bus: {os.strerror(failure)}")
    sockets = [_own(numbers[index]) for index in range(count.value)]
    free(numbers)
    if not sockets:
        return None  # another program had the port when launchd loaded the plist
    if len(sockets) != 1:
        raise BusUnavailable(f"launchd hands {len(sockets)} sockets over to the bus, and it has use for one")
    return sockets[0]


def bound(port: int) -> socket.socket:
    """A listener at that port, or at a free one when another has it."""
    try:
        return _bound(port)
    except OSError as problem:
        if not port or problem.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        return _bound(0)


def _bound(port: int) -> socket.socket:
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        # What is left of closed connections must not keep the port from the next service.
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((HOST, port))
        found.listen(_WAITING)
    except OSError:
        found.close()
        raise
    return found


def _own(descriptor: int) -> socket.socket:
    """The socket of that descriptor, not passed on to children."""
    found = socket.socket(fileno=descriptor)
    found.set_inheritable(False)
    found.setblocking(True)
    return found


def _checked(found: socket.socket) -> socket.socket:
    """Nobody but this machine may reach it, whoever made it."""
    if found.family != socket.AF_INET or found.type != socket.SOCK_STREAM:
        raise BusUnavailable("the socket that is handed over to the bus is no TCP socket")
    if found.getsockname()[0] != HOST:
        raise BusUnavailable(f"the bus listens at {HOST} only, and not at {found.getsockname()[0]}")
    if not found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise BusUnavailable("the socket that is handed over to the bus does not listen")
    return found


def tell_manager(environ: MutableMapping[str, str], state: str) -> None:
    """Tell systemd, where it asks for it, how the service is (sd_notify(3)), such as ``READY=1``."""
    where = environ.get("NOTIFY_SOCKET")
    if not where:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told:
        told.connect("\0" + where[1:] if where.startswith("@") else where)
        told.sendall(state.encode())
