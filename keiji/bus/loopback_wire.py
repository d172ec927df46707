"""What is said over the loopback socket: lines of JSON, each side in turn, proven by a key never sent.

    service → {"v": 1, "n": nonce}
    client  → {"n": nonce, "mac": proof}
    service → {"mac": proof}
    client  → {"body": request, "mac": proof}
    service → {"body": answer, "mac": proof}

A proof is an HMAC over both nonces, the port and, where there is one, the body, each with another label:
what is heard in one conversation is worth nothing in the next, nor at another port.
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

VERSION = 1
MOST = 64 * 1024  # bytes of a line, with its end
_PIECE = 8192

_HEX = {"n": 32, "mac": 64}
# Which fields a line must have; one of its own for each turn.
HELLO = frozenset({"v", "n"})
CLAIM = frozenset({"n", "mac"})
PROOF = frozenset({"mac"})
SPEECH = frozenset({"body", "mac"})


class Refused(Exception):
    """What came is no part of such a conversation; `why` is a word for the log."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Line:
    """Takes one line out of what comes, and nothing after it: the other side has to wait for its turn."""

    def __init__(self) -> None:
        self._held = bytearray()

    def take(self, data: bytes) -> bytes | None:
        """Add what came; the line without its end once it is whole. Raises `Refused`."""
        known = len(self._held)
        self._held += data
        if not self._held.startswith(b"{"[: len(self._held)]):
            raise Refused("no-json")  # as early as can be: a browser, say
        end = self._held.find(b"\n", known, MOST)
        if end < 0:
            if len(self._held) >= MOST:
                raise Refused("too-long")
            return None
        if end + 1 != len(self._held):
            raise Refused("out-of-turn")
        return bytes(self._held[:end])


def parse(line: bytes, fields: frozenset[str]) -> dict[str, Any]:
    """The line's object, which has exactly these fields, each as it must be; raises `Refused`."""
    found = load(line)
    if found.keys() != fields:
        raise Refused("malformed")
    for name, value in found.items():
        if name in _HEX and not is_hex(value, _HEX[name]):
            raise Refused("malformed")
    if "body" in found and not isinstance(found["body"], str):
        raise Refused("malformed")
    return found


def load(text: bytes | str) -> dict[str, Any]:
    """A JSON object that says nothing twice; raises `Refused`."""
    try:
        if isinstance(text, bytes):
            text = text.decode()
        found = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
        json.dumps(found, ensure_ascii=False).encode()  # halves of characters can't be said again
    except (ValueError, RecursionError):
        raise Refused("malformed") from None
    if not isinstance(found, dict):
        raise Refused("malformed")
    return found


def is_hex(value: object, digits: int) -> bool:
    return isinstance(value, str) and re.fullmatch(f"[0-9a-f]{{{digits}}}", value) is not None


def dump(**fields: Any) -> bytes:
    """A line; raises `Refused` when it would be too long."""
    text = json.dumps(fields, ensure_ascii=False).encode() + b"\n"
    if len(text) > MOST:
        raise Refused("too-long")
    return text


def nonce() -> str:
    return secrets.token_hex(_HEX["n"] // 2)


@dataclass(frozen=True)
class Talk:
    """One conversation: the two nonces, and the port at which it is held."""

    server: str
    client: str
    port: int

    def claim(self, key: bytes) -> str:
        """What proves that the client knows the key."""
        return self._mac(key, "client")

    def proof(self, key: bytes) -> str:
        """What proves that the service knows the key."""
        return self._mac(key, "service")

    def request(self, key: bytes, body: str) -> str:
        return self._mac(key, "request", body)

    def answer(self, key: bytes, body: str) -> str:
        return self._mac(key, "answer", body)

    def _mac(self, key: bytes, label: str, body: str = "") -> str:
        # No part but the last can hold the separator.
        parts = ("keiji", str(VERSION), label, self.server, self.client, str(self.port), body)
        return hmac.new(key, "\0".join(parts).encode(), "sha256").hexdigest()


def is_same(one: str, other: str) -> bool:
    """Whether two proofs are the same, in a time that tells nothing of where they differ."""
    return hmac.compare_digest(one, other)


# -- sockets -------------------------------------------------------------------------------------


def hear(connection: socket.socket, fields: frozenset[str], until: float) -> dict[str, Any]:
    """The next line, which must be whole by then (`time.monotonic`); raises `Refused`."""
    line = Line()
    while True:
        _limit(connection, until)
        try:
            data = connection.recv(_PIECE)
        except TimeoutError:
            raise Refused("too-slow") from None
        except OSError:
            raise Refused("hung-up") from None
        if not data:
            raise Refused("hung-up")
        whole = line.take(data)
        if whole is not None:
            return parse(whole, fields)


def say(connection: socket.socket, until: float, **fields: Any) -> None:
    """Send a line; raises `Refused` when the other side doesn't take it by then."""
    line = dump(**fields)
    _limit(connection, until)
    try:
        connection.sendall(line)
    except TimeoutError:
        raise Refused("too-slow") from None
    except OSError:
        raise Refused("hung-up") from None


def _limit(connection: socket.socket, until: float) -> None:
    rest = until - time.monotonic()
    if rest <= 0:
        raise Refused("too-slow")
    try:
        connection.settimeout(rest)
    except OSError:  # it was closed meanwhile
        raise Refused("hung-up") from None


def _once(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("said twice")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(name)  # NaN, Infinity: no JSON
