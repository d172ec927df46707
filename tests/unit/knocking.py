"""A service on a loopback socket in a thread of the test, and somebody who knocks at its door by hand."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from commanding import Place

from keiji.bus import loopback_key
from keiji.bus import loopback_wire as wire
from keiji.bus.loopback import LoopbackService
from keiji.bus.loopback_wire import Talk
from keiji.folders import Folders

SOON = 10.0  # seconds until a test gives up


class Served(LoopbackService):
    """Keeps what it logs."""

    def __init__(self, place: Place, idle: float = 600.0) -> None:
        self.logged: list[tuple[str, dict[str, Any]]] = []
        super().__init__(place.folders, place.host, idle, {})

    def log(self, event: str, **fields: Any) -> None:
        self.logged.append((event, fields))

    def refusals(self) -> dict[str, int]:
        """Lines about refusals: reason → how many."""
        told = [fields["why"] for event, fields in self.logged if event == "refused"]
        return {why: told.count(why) for why in told}


@contextmanager
def serving(place: Place, idle: float = 600.0) -> Iterator[Served]:
    """The service runs, and has left when this is over."""
    service = Served(place, idle)
    thread = threading.Thread(target=service.run, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        service.ask_to_go("the test is over")
        thread.join(SOON)
    assert not thread.is_alive()


class Knocker:
    """A connection that says what it is told to; the key is that of the file, unless it is given."""

    def __init__(self, folders: Folders, key: bytes = b"", port: int = 0) -> None:
        address = None if key and port else loopback_key.read(folders)
        self.key = key or (address.key if address else b"")
        self.port = port or (address.port if address else 0)
        self.connection = socket.create_connection(("127.0.0.1", self.port), SOON)
        self.talk = Talk("", "", 0)

    def hear(self, fields: frozenset[str]) -> dict[str, Any]:
        return wire.hear(self.connection, fields, time.monotonic() + SOON)

    def say(self, **fields: Any) -> None:
        wire.say(self.connection, time.monotonic() + SOON, **fields)

    def raw(self, data: bytes) -> None:
        self.connection.sendall(data)

    def shake_hands(self) -> None:
        self.talk = Talk(self.hear(wire.HELLO)["n"], wire.nonce(), self.port)
        self.say(n=self.talk.client, mac=self.talk.claim(self.key))
        assert wire.is_same(self.hear(wire.PROOF)["mac"], self.talk.proof(self.key))

    def speech(self, body: str) -> dict[str, str]:
        return {"body": body, "mac": self.talk.request(self.key, body)}

    def ask(self, body: str) -> dict[str, Any]:
        """Say this after the handshake; the answer's body."""
        self.say(**self.speech(body))
        said = self.hear(wire.SPEECH)
        assert wire.is_same(said["mac"], self.talk.answer(self.key, said["body"]))
        answer: dict[str, Any] = json.loads(said["body"])
        return answer

    def is_hung_up_on(self) -> bool:
        """Whether the service closes without a further word."""
        try:
            return self.connection.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        self.connection.close()
