"""The door of the service on the loopback socket: lets in who proves to know the key, for one request.

Any user of the machine and any web page may knock. Who proves nothing costs one thread for two seconds,
and can't keep others out: where too many wait, the one that has waited longest has to go.
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from keiji.bus import loopback_wire as wire
from keiji.bus.loopback_wire import Refused, Talk

_HANDSHAKE = 2.0  # seconds until a proof must be there
_REQUEST = 10.0  # seconds until the request must be there
_ANSWER = 2.0  # seconds in which an answer must be taken
_STRANGERS = 16
_CALLERS = 128  # who have proven to know the key; most wait for a stop to be over
_FAILURES, _WHILE = 5, 1.0  # so many in so many seconds, and the next has to wait
_PAUSE = 0.02  # so short that those who wait behind many others are not kept out
_SAYABLE = 8000  # characters; written as JSON in JSON they fit into a line


class Caller:
    """Somebody whose request, the text `body`, was let in; must be answered once."""

    def __init__(self, connection: socket.socket, talk: Talk, key: bytes, body: str) -> None:
        self.body = body
        self._connection = connection
        self._talk = talk
        self._key = key
        self.is_answered = False

    def answer(self, **fields: str) -> None:
        """Say what came of it, unless the caller has left."""
        try:
            body = json.dumps({name: _sayable(text) for name, text in fields.items()}, ensure_ascii=False)
            mac = self._talk.answer(self._key, body)
            with suppress(Refused):
                wire.say(self._connection, time.monotonic() + _ANSWER, body=body, mac=mac)
        finally:
            self._connection.close()
            self.is_answered = True


class _Visit:
    """One connection until its request is there; `why` it was sent away, if it was."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.began = time.monotonic()
        self.why = ""

    def send_away(self, why: str) -> None:
        """Its own thread finds that it is at an end, and closes it."""
        self.why = why
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)


class Door:
    """Takes connections from a listener; one thread calls `admit` and `close`.

    `key` reads the key as it is now, None where there is none to trust; `take` is given each caller, in a
    thread of its own; `refused` is told a word for each connection that was not let in.
    """

    def __init__(
        self,
        listener: socket.socket,
        key: Callable[[], bytes | None],
        take: Callable[[Caller], None],
        refused: Callable[[str], None],
    ) -> None:
        self.listener = listener
        self.port: int = listener.getsockname()[1]
        self._key = key
        self._take = take
        self._refused = refused
        self._lock = threading.Lock()
        self._visits: set[_Visit] = set()
        self._strangers: dict[_Visit, None] = {}  # who has proven nothing; the longest here first
        self._callers: set[Caller] = set()
        self._failures: deque[float] = deque(maxlen=_FAILURES)

    @property
    def is_empty(self) -> bool:
        """Whether nobody is being listened to, or waits for an answer."""
        with self._lock:
            self._callers = {caller for caller in self._callers if not caller.is_answered}
            return not self._visits and not self._callers

    @property
    def is_wanted(self) -> bool:
        """Whether somebody is here who has proven to know the key."""
        return not self.is_empty and len(self._visits) + len(self._callers) > len(self._strangers)

    def admit(self) -> None:
        """Have one who knocks listened to, beside all others."""
        if len(self._failures) == _FAILURES and time.monotonic() - self._failures[0] < _WHILE:
            time.sleep(_PAUSE)
        try:
            connection, _ = self.listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # it has left already
        except OSError:  # no descriptor is left, say
            self._refuse("no-room")
            time.sleep(_PAUSE)
            return
        visit = _Visit(connection)
        with self._lock:
            self._visits.add(visit)
            self._strangers[visit] = None
            crowd = list(self._strangers)[:-_STRANGERS]
            for longest in crowd:
                del self._strangers[longest]
                longest.send_away("too-many")
        try:
            threading.Thread(target=self._receive, args=(visit,), daemon=True).start()
        except RuntimeError:  # no thread is left
            self._end(visit, "no-room")

    def close(self) -> None:
        """Let nobody in any more; who has proven to know the key may say what they came for."""
        self.listener.close()
        with self._lock:
            for visit in self._strangers:
                visit.send_away("closing")

    # -- one visit -----------------------------------------------------------------------------

    def _receive(self, visit: _Visit) -> None:
        why = ""
        try:
            caller = self._hear(visit)
            with self._lock:
                self._callers.add(caller)
            self._take(caller)
        except Refused as refused:
            why = visit.why or refused.why
        except Exception as problem:  # none may end in silence, nor keep the door from being empty
            why = f"unexpected {type(problem).__name__}"
        self._end(visit, why)

    def _hear(self, visit: _Visit) -> Caller:
        visit.connection.setblocking(True)  # macOS passes the listener's mode on
        talk = self._shake_hands(visit, visit.began + _HANDSHAKE)
        said = wire.hear(visit.connection, wire.SPEECH, visit.began + _REQUEST)
        key = self._known_key()  # again: it may have been renewed since
        if not wire.is_same(said["mac"], talk.request(key, said["body"])):
            raise Refused("wrong-mac")
        return Caller(visit.connection, talk, key, said["body"])

    def _shake_hands(self, visit: _Visit, until: float) -> Talk:
        nonce = wire.nonce()
        wire.say(visit.connection, until, v=wire.VERSION, n=nonce)
        said = wire.hear(visit.connection, wire.CLAIM, until)
        key = self._known_key()
        talk = Talk(nonce, said["n"], self.port)
        if not wire.is_same(said["mac"], talk.claim(key)):
            raise Refused("wrong-key")
        with self._lock:
            if visit not in self._strangers or len(self._callers) >= _CALLERS:
                raise Refused("too-many")
            del self._strangers[visit]
        wire.say(visit.connection, until, mac=talk.proof(key))
        return talk

    def _known_key(self) -> bytes:
        key = self._key()
        if key is None:
            raise Refused("no-key")
        return key

    def _end(self, visit: _Visit, why: str) -> None:
        """The visit is over; unless it led to a request (`why` is empty) so is the connection."""
        if why:
            visit.connection.close()
            self._refuse(why)
        with self._lock:
            self._strangers.pop(visit, None)
            self._visits.discard(visit)

    def _refuse(self, why: str) -> None:
        self._failures.append(time.monotonic())
        self._refused(why)


def _sayable(text: str) -> str:
    """What JSON in UTF-8 can carry, and a line has room for."""
    return text[:_SAYABLE].encode(errors="backslashreplace").decode()
