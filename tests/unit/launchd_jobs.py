"""The jobs of the stand-in for launchd: their processes, their sockets, and when they are started again."""

from __future__ import annotations

import contextlib
import os
import plistlib
import select
import signal
import socket
import subprocess
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import launchd_sockets

if TYPE_CHECKING:
    from launchd_verbs import Machine

POOR = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "OSLogRateLimit": "64"}
THROTTLE = 10.0  # seconds from one start to the next, where the plist says nothing
GRACE = 5  # seconds from SIGTERM to SIGKILL, likewise
_BREATH = 0.05  # seconds before another start of what can't be started


class Job:
    """A loaded agent. Whoever calls a method holds the machine's lock.

    One thread starts and reaps its processes while it has any to, another waits at its socket.
    """

    def __init__(self, machine: Machine, domain: str, path: str) -> None:
        self.machine = machine
        self.domain = domain
        self.path = path
        self.plist: dict[str, Any] = plistlib.loads(Path(path).read_bytes())
        self.label: str = self.plist["Label"]
        self.process: subprocess.Popen[bytes] | None = None
        self.minder: threading.Thread | None = None
        self.runs = 0
        self.last = "(never exited)"
        self.waited = 0  # as wait(2) has it
        self.signal: int | None = None
        self.is_leaving = False
        self.begun = -1e9  # on the monotonic clock
        self.again = False  # start once more when this one has ended
        self.told = threading.Event()  # to go
        self.gone = threading.Event()
        self.listener = launchd_sockets.listener(self.plist)
        self._wakes = self._waker = -1
        if self.listener:
            self._wakes, self._waker = os.pipe()
            threading.Thread(target=self._attend, args=(self.listener,), daemon=True).start()

    @property
    def target(self) -> str:
        return f"{self.domain}/{self.label}"

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process else None

    @property
    def state(self) -> str:
        if self.is_leaving:
            return "SIGTERMed"
        return "running" if self.process else "spawn scheduled" if self.minder else "not running"

    @property
    def throttle(self) -> float:
        return float(self.plist.get("ThrottleInterval", THROTTLE) * self.machine.throttle)

    def as_dict(self) -> dict[str, Any]:
        names = ("label", "path", "plist", "pid", "runs", "last", "signal", "state", "domain")
        return {**{name: getattr(self, name) for name in names}, "minder": bool(self.minder)}

    def waits_for(self, now: datetime) -> bool:
        """Whether one of its dictionaries names that minute: Day and Weekday are an OR."""
        return any(_names(entry, now) for entry in self.plist.get("StartCalendarInterval", []))

    def start(self) -> None:
        """Nothing where it runs, or is about to."""
        if self.minder is None and not self.is_leaving:
            self.minder = threading.Thread(target=self._mind, daemon=True)
            self.minder.start()

    def send(self, number: int) -> None:
        """Its number is its own until the minder reaps it, which takes the lock."""
        if self.process:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, number)

    def leave(self, number: int, patience: float) -> None:
        """Have it go; `gone` is set, and the machine knows it no more, when its process has ended."""
        self.is_leaving, self.again = True, False
        self.told.set()
        self._wake()
        if self.minder is None:
            self._end()
            return
        self.send(number)
        if number != signal.SIGKILL:
            threading.Thread(target=self._insist, args=(patience,), daemon=True).start()

    def _insist(self, patience: float) -> None:
        if not self.gone.wait(patience):
            with self.machine.lock:
                self.send(signal.SIGKILL)

    def _wake(self) -> None:
        if self._waker >= 0:
            os.write(self._waker, b".")

    def _end(self) -> None:
        if self.machine.jobs.get(self.target) is self:
            del self.machine.jobs[self.target]
        if self.listener:
            self.listener.close()
        self.gone.set()

    # -- threads -----------------------------------------------------------------------------

    def _mind(self) -> None:
        while self._run_once():
            pass

    def _run_once(self) -> bool:
        """Whether it is to be started again."""
        self.told.wait(max(0.0, self.begun + self.throttle - time.monotonic()))
        with self.machine.lock:
            process = None if self.is_leaving else self._spawned()
            self.process = process
        if process:
            _await(process)
        elif not self.is_leaving:
            self.told.wait(_BREATH)
        with self.machine.lock:
            if process:
                self._reap(process)
            if self.is_leaving:
                self._end()
                return False
            if self.again or self._is_kept():
                self.again = False
                return True
            self.minder = None
            self._wake()
            return False

    def _reap(self, process: subprocess.Popen[bytes]) -> None:
        with contextlib.suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)  # AbandonProcessGroup is false
        status = process.wait()
        self.process = None
        self.signal = -status if status < 0 else None
        self.last = str(max(status, 0))
        self.waited = -status if status < 0 else status << 8

    def _is_kept(self) -> bool:
        kept = self.plist.get("KeepAlive")
        return kept is True or (isinstance(kept, dict) and (self.last != "0" or self.signal is not None))

    def _spawned(self) -> subprocess.Popen[bytes] | None:
        """Its new process; None, with 78 for an exit status, where there can't be one."""
        self.begun = time.monotonic()
        self.signal = None
        plist = self.plist
        environ = {**POOR, "XPC_SERVICE_NAME": self.label, **plist.get("EnvironmentVariables", {})}
        words = [*plist["ProgramArguments"], *self.machine.added.get(self.label, [])]
        null = "/dev/null"
        self.runs += 1  # it is xpcproxy that is started, and becomes the program or fails to
        try:
            with (
                open(plist.get("StandardOutPath", null), "ab") as out,
                open(plist.get("StandardErrorPath", null), "ab") as err,
                launchd_sockets.handed(self.listener, words, environ) as how,
            ):
                process = subprocess.Popen(
                    **how,
                    cwd=plist.get("WorkingDirectory", "/"),
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    start_new_session=True,
                    umask=plist.get("Umask", 0o022),
                )
        except OSError:
            self.last, self.waited = "78: EX_CONFIG", 78 << 8
            return None
        return process

    def _attend(self, listener: socket.socket) -> None:
        """Start it for whoever connects while it doesn't run; what waits in the queue is its to take."""
        while not self.told.is_set():
            with self.machine.lock:
                watched = [self._wakes] if self.minder or listener.fileno() < 0 else [self._wakes, listener]
            ready, _, _ = select.select(watched, [], [])
            if self._wakes in ready:
                os.read(self._wakes, 100)
            elif not self.told.is_set():
                with self.machine.lock:
                    self.start()
        with self.machine.lock:
            os.close(self._wakes)
            os.close(self._waker)
            self._waker = -1


def _await(process: subprocess.Popen[bytes]) -> None:
    """Wait for its end without reaping it, so that nobody else gets its number meanwhile."""
    if hasattr(os, "waitid"):
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    else:  # macOS, before Python 3.13
        process.wait()


def _names(entry: dict[str, int], now: datetime) -> bool:
    read = {"Minute": now.minute, "Hour": now.hour, "Month": now.month}
    if any(entry.get(key, value) != value for key, value in read.items()):
        return False
    days = {"Day": now.day, "Weekday": now.isoweekday() % 7}
    named = [entry[key] % (7 if key == "Weekday" else 32) == days[key] for key in days if key in entry]
    return any(named) or not named
