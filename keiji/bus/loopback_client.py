"""The client of the service on a loopback socket; nothing is asked of who doesn't prove to know the key."""

from __future__ import annotations

import json
import os
import socket
import time
from contextlib import closing
from typing import Any

from keiji.bus import interface, loopback_key
from keiji.bus import loopback_wire as wire
from keiji.bus.client import PING, Absent, Client
from keiji.bus.loopback_key import Address, Unusable
from keiji.bus.loopback_wire import Refused, Talk
from keiji.errors import BusUnavailable, KeijiError
from keiji.folders import Folders

_HOST = "127.0.0.1"
_HANDSHAKE = 3.0  # seconds; whoever is alive answers at once
# Seconds in which somebody else at the port may give way to a service that was started; a silent one takes
# up a handshake at each look.
_STRANGER = 8.0
_RESTART = "`keiji system restart --bus` starts it anew"


class LoopbackClient(Client):
    """Reaches the service at the port that its file names."""

    def call(self, method: str, words: tuple[str, ...], timeout: float) -> tuple[Any, ...]:
        """See `call` below."""
        return call(self.folders, method, words, timeout)


def ping(folders: Folders) -> tuple[str, str] | None:
    """The version and home that the service answers with, None where none does; starts nothing."""
    try:
        version, home = call(folders, "Ping", (), PING)
    except (KeijiError, Absent):
        return None
    return version, home


def call(folders: Folders, method: str, words: tuple[str, ...], timeout: float) -> tuple[Any, ...]:
    """One call over a connection of its own; raises the error that came back, `Absent`, `BusUnavailable`.

    Where it raises `Absent` nothing has been done.
    """
    try:
        address = loopback_key.read(folders)
    except Unusable as problem:
        raise BusUnavailable(f"{loopback_key.path(folders)} {problem}: {_RESTART}") from None
    if address is None:  # a service that was started has written it
        raise Absent(f"{loopback_key.path(folders)} is missing: {_RESTART}", _STRANGER)
    request = {"op": method.lower()}
    if words:
        request |= {"task": words[0], "inside": os.environ.get("INVOCATION_ID", "")}
    with closing(_connect(address)) as connection:
        talk = _shake_hands(connection, address)
        _say(connection, talk, address.key, json.dumps(request, ensure_ascii=False))
        return _result(_hear(connection, talk, address.key, timeout))


def _connect(address: Address) -> socket.socket:
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    connection.settimeout(PING)
    try:
        connection.connect((_HOST, address.port))
        if connection.getsockname() == connection.getpeername():  # nobody listens: TCP met itself
            raise ConnectionRefusedError
    except TimeoutError:
        connection.close()
        raise _stranger(address, "answers") from None
    except OSError:
        connection.close()
        raise Absent from None
    return connection


def _shake_hands(connection: socket.socket, address: Address) -> Talk:
    """Have the service prove that it knows the key; raises `Absent`."""
    until = time.monotonic() + _HANDSHAKE
    try:
        hello = wire.hear(connection, wire.HELLO, until)
        talk = Talk(hello["n"], wire.nonce(), address.port)
        wire.say(connection, until, n=talk.client, mac=talk.claim(address.key))
        proof = wire.hear(connection, wire.PROOF, until)
    except Refused as refused:
        # One that is leaving hangs up, too.
        raise Absent if refused.why == "hung-up" else _stranger(address, "answers") from None
    if hello["v"] != wire.VERSION or not wire.is_same(proof["mac"], talk.proof(address.key)):
        raise _stranger(address, "is keiji's bus")
    return talk


def _say(connection: socket.socket, talk: Talk, key: bytes, body: str) -> None:
    try:
        wire.say(connection, time.monotonic() + PING, body=body, mac=talk.request(key, body))
    except Refused:
        raise Absent from None  # a request that is not whole is not carried out


def _hear(connection: socket.socket, talk: Talk, key: bytes, timeout: float) -> dict[str, Any]:
    try:
        said = wire.hear(connection, wire.SPEECH, time.monotonic() + timeout)
        if wire.is_same(said["mac"], talk.answer(key, said["body"])):
            return wire.load(said["body"])
        why = "its answer was not its own"
    except Refused as refused:
        if refused.why == "too-slow":
            raise BusUnavailable(f"the bus did not answer within {timeout:.0f} s: {_RESTART}") from None
        why = refused.why
    raise BusUnavailable(
        f"the bus ended before it answered ({why}): `keiji task list` shows what is done, "
        "`keiji system logs --bus` why"
    )


def _result(answer: dict[str, Any]) -> tuple[Any, ...]:
    """The words of an answer in the order in which they were said; raises the error that it tells."""
    if "error" in answer:
        raise interface.error_from(str(answer["error"]), str(answer.get("message", "")))
    return tuple(answer.values())


def _stranger(address: Address, what: str) -> Absent:
    why = f"nobody who listens at {_HOST}:{address.port} {what}: {_RESTART}"
    return Absent(why, _STRANGER)
