"""Where the service on the loopback socket listens, and the key: a file that its owner alone may read."""

from __future__ import annotations

import json
import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path

from keiji.bus import loopback_wire
from keiji.bus.loopback_wire import Refused
from keiji.folders import Folders

_DIGITS = 64  # of the key; 32 bytes
_MOST = 4096
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_OLD = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe in its place must not hang us


class Unusable(Exception):
    """The file can't be trusted, or says nothing; the message names what is wrong with it."""


@dataclass(frozen=True, repr=False)
class Address:
    """A port of 127.0.0.1, and the key that both sides prove to know."""

    port: int
    key: bytes


def path(folders: Folders) -> Path:
    return folders.run / "bus.json"


def read(folders: Folders) -> Address | None:
    """What the file says, None when there is none; raises `Unusable`."""
    try:
        descriptor = os.open(path(folders), _OLD)
    except FileNotFoundError:
        return None
    except OSError as problem:
        raise Unusable(f"can't be opened: {problem.strerror}") from None
    with os.fdopen(descriptor, "rb") as file:
        _check(os.fstat(descriptor))
        text = file.read(_MOST)
    return _address(text)


def ensure(folders: Folders, port: int) -> Address:
    """Have the file name that port; its key stays, unless somebody else may have read it."""
    try:
        found = read(folders)
    except Unusable:
        found = None
    if found is None or found.port != port:
        found = write(folders, Address(port, found.key if found else secrets.token_bytes(_DIGITS // 2)))
    return found


def renew(folders: Folders, port: int) -> Address:
    """Write another key; who has the old one is refused from now on."""
    return write(folders, Address(port, secrets.token_bytes(_DIGITS // 2)))


def write(folders: Folders, address: Address) -> Address:
    """Replace the file in one step."""
    folders.run.mkdir(mode=0o700, parents=True, exist_ok=True)
    spare = folders.run / f".bus.json.{secrets.token_hex(8)}~"
    descriptor = os.open(spare, _NEW, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            json.dump({"port": address.port, "key": address.key.hex()}, file)
        os.replace(spare, path(folders))
    except BaseException:
        spare.unlink(missing_ok=True)
        raise
    return address


def _check(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise Unusable("is no file")
    if found.st_uid != os.geteuid():
        raise Unusable(f"belongs to user {found.st_uid}")
    if found.st_mode & 0o077:
        raise Unusable(f"may be read by others (mode {stat.S_IMODE(found.st_mode):04o})")


def _address(text: bytes) -> Address:
    try:
        found = loopback_wire.load(text)
    except Refused:
        found = {}
    port, key = found.get("port"), found.get("key")
    if type(port) is not int or not 0 < port < 65536 or not loopback_wire.is_hex(key, _DIGITS):
        raise Unusable("is damaged")
    return Address(port, bytes.fromhex(str(key)))


def choose(folders: Folders) -> None:
    """Have the file name a port, a free one unless it does already."""
    from keiji.bus import loopback_listener

    try:
        if read(folders):
            return
    except Unusable:
        pass
    with loopback_listener.bound(0) as found:
        ensure(folders, found.getsockname()[1])
