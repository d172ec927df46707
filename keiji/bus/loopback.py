"""The service on a loopback socket: `python -m keiji.bus.loopback [--idle SECONDS]`.

For systems without a session bus; it does what `keiji.bus.dbus` does, but tells nobody of changes: one
connection carries one request. `loopback_wire` has what is said, `loopback_door` who is let in.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import threading
import time
from typing import Any

from keiji import platforms
from keiji.bus import interface, loopback_key, loopback_listener, loopback_wire, service
from keiji.bus.desk import Answer
from keiji.bus.loopback_door import Caller, Door
from keiji.bus.loopback_key import Unusable
from keiji.bus.loopback_wire import Refused
from keiji.directives import Directive, Verb
from keiji.errors import BusUnavailable, KeijiError, UsageError
from keiji.folders import Folders
from keiji.host import Host

NAME = "io.keiji.Bus1"
_TURN = 1.0  # seconds from one look for ended runs to the next
_DRAIN = 0.02
_SAME = 60.0  # seconds in which refusals for one reason are counted rather than told
_VERBS = {verb.value: verb for verb in Verb}
# What may be asked: operation → the words that go with it.
OPERATIONS: dict[str, frozenset[str]] = {
    **dict.fromkeys(_VERBS, frozenset({"task", "inside"})),
    **dict.fromkeys(("ping", "shutdown"), frozenset()),
}


class LoopbackService(service.Service):
    """One process that serves one system folder; raises `BusUnavailable` when another does."""

    def __init__(self, folders: Folders, host: Host, idle: float, environ: dict[str, str] | None = None):
        super().__init__(folders, host, idle, lambda slug, state: None)
        self.folders = folders
        self._environ: Any = os.environ if environ is None else environ
        self._lock = _only_one(folders)
        self._asked_to_go = ""
        self._delivered = 0
        self._refusals = Refusals(self.log)
        self._wakes, self._waker = os.pipe()
        os.set_blocking(self._waker, False)
        self.door = Door(self._listener(), self._key, self._take, self._refusals.tell)

    def run(self) -> None:
        """Answer until idle or told to go, and finish what is in flight."""
        self.log_start()
        self.desk.deliver_soon()
        loopback_listener.tell_manager(self._environ, "READY=1")
        while not self._is_over():
            self._serve_a_turn()
        # Whoever starts it anew waits for its end, as the manager is told of it.
        loopback_listener.tell_manager(self._environ, "STOPPING=1")
        self.door.close()
        while not self.door.is_empty:
            time.sleep(_DRAIN)
        self._refusals.tell_rest()
        self.desk.lanes.wait()
        os.close(self._lock)

    def ask_to_go(self, why: str) -> None:
        """Have it leave soon; from any thread, and from a signal's handler."""
        self._asked_to_go = self._asked_to_go or why
        with contextlib.suppress(BlockingIOError):
            os.write(self._waker, b".")

    # -- turns ---------------------------------------------------------------------------------

    def _serve_a_turn(self) -> None:
        listener = self.door.listener.fileno()
        ready, _, _ = select.select([listener, self._wakes], [], [], self._pause())
        if listener in ready:
            self.door.admit()
        self._look_for_ended_runs()

    def _pause(self) -> float:
        return max(0.0, min(_TURN, self.rest(self.door.is_wanted)))

    def _is_over(self) -> bool:
        if not self._asked_to_go and self.rest(self.door.is_wanted) <= 0:
            self._asked_to_go = "idle"
        return bool(self._asked_to_go) and self.begin_leaving(self._asked_to_go)

    def _look_for_ended_runs(self) -> None:
        with contextlib.suppress(OSError):
            changed = os.stat(self.folders.done).st_mtime_ns
            if changed != self._delivered:
                self._delivered = changed
                self.desk.deliver_soon()

    # -- requests ------------------------------------------------------------------------------

    def _take(self, caller: Caller) -> None:
        """Have what a caller wants done; none goes without an answer."""
        self.prolong()
        try:
            request = _request(caller.body)
            self._do(request, caller)
        except Exception as problem:
            _answer_with(caller, problem)

    def _do(self, request: dict[str, str], caller: Caller) -> None:
        operation = request["op"]
        if operation == "ping":
            version, home = self.desk.version_and_home()
            caller.answer(version=version, home=home)
        elif operation == "shutdown":
            caller.answer()
            self.ask_to_go("asked to shut down")
        else:
            directive = Directive(_VERBS[operation], request["task"], request["inside"])
            self.desk.direct(lambda: directive, directive.task, _answering(caller))

    # -- parts ---------------------------------------------------------------------------------

    def _listener(self) -> Any:
        """What to listen on, and the file that says where; the port is kept where that can be."""
        try:
            known = loopback_key.read(self.folders)
        except Unusable as problem:
            known = None
            self.log("key renewed", level="warning", file=loopback_key.path(self.folders), why=problem)
        found = loopback_listener.listener(self._environ, known.port if known else 0)
        found.setblocking(False)  # who has knocked may be gone before the door is opened
        port = found.getsockname()[1]
        if known and known.port != port:
            self.log("port taken", level="warning", port=known.port, instead=port)
        loopback_key.ensure(self.folders, port)
        return found

    def _key(self) -> bytes | None:
        """The key as it is now: a request after it was renewed is refused."""
        try:
            found = loopback_key.read(self.folders)
        except Unusable:
            return None
        return found.key if found else None


class Refusals:
    """Logs the first refusal for a reason at once, and how many came after it once a minute."""

    def __init__(self, log: Any) -> None:
        self._log = log
        self._lock = threading.Lock()
        self._told: dict[str, float] = {}
        self._untold: dict[str, int] = {}

    def tell(self, why: str) -> None:
        with self._lock:
            self._untold[why] = self._untold.get(why, 0) + 1
            if time.monotonic() - self._told.get(why, -_SAME) >= _SAME:
                self._tell(why)

    def tell_rest(self) -> None:
        """Log what has been counted and not told."""
        with self._lock:
            for why in [*self._untold]:
                self._tell(why)

    def _tell(self, why: str) -> None:
        self._told[why] = time.monotonic()
        self._log("refused", level="warning", why=why, times=self._untold.pop(why))


def _request(body: str) -> dict[str, str]:
    """The operation and its words, all of them text; raises `UsageError`."""
    try:
        request = {"inside": "", **loopback_wire.load(body)}
    except Refused:
        raise UsageError("the request is no JSON object") from None
    operation = request.get("op")
    if not isinstance(operation, str) or operation not in OPERATIONS:
        raise UsageError(f"the bus knows no such operation; it knows {', '.join(OPERATIONS)}")
    words = OPERATIONS[operation]
    if request.keys() != words | {"op", "inside"} or not all(isinstance(it, str) for it in request.values()):
        raise UsageError(f"{operation} takes {' and '.join(sorted(words)) or 'no words'}, as text")
    return request


def _answering(caller: Caller) -> Answer:
    """Answers the caller with a reply, or with an error of its own name."""

    def answer(reply: Any, problem: Exception | None) -> None:
        try:
            if problem is None:
                caller.answer(message=reply.message, run=reply.run)
                return
        except Exception as unsayable:  # who waits for an answer would keep the service from leaving
            problem = unsayable
        _answer_with(caller, problem)

    return answer


def _answer_with(caller: Caller, problem: Exception) -> None:
    message = problem.message if isinstance(problem, KeijiError) else f"{type(problem).__name__}: {problem}"
    caller.answer(error=interface.error_name(problem), message=message)


def _only_one(folders: Folders) -> int:
    """A lock held until the process ends; raises `BusUnavailable` when another process has it."""
    folders.run.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folders.run / "bus.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise BusUnavailable(f"another process serves {folders.home} already") from None
    return descriptor


def _make(folders: Folders, idle: float) -> LoopbackService:
    made = LoopbackService(folders, platforms.host(folders), idle)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: made.ask_to_go("told to go"))
    return made


def main() -> None:
    """Serve until idle; exit status 1 when there is nothing to listen on."""
    service.main("keiji.bus.loopback", NAME, _make)


if __name__ == "__main__":
    main()
