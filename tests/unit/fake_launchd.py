"""A strict `launchctl` and as much of launchd behind it as keiji may rely on.

It knows the grammar, exit codes and races that are written down for macOS 13 to 26 (`launchd_verbs`), really
runs jobs with launchd's poor environment (`launchd_jobs`), and notes as a breach whatever keiji must never
do. Time passes for its timers when a test says so. That launchd itself does the same has never been tried.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import launchd_verbs
from launchd_jobs import Job
from launchd_verbs import Machine

# All that it does is to carry words to the test's process: hundreds of them are started.
SHIM = """\
#!{python} -IS
import os, sys, _socket
asked = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
asked.connect({path!r})
asked.send("\\0".join([str(os.getppid()), *sys.argv[1:]]).encode())
asked.shutdown(_socket.SHUT_WR)
said = b""
while more := asked.recv(65536):
    said += more
head, _, said = said.partition(b"\\n")
status, size = map(int, head.split())
os.write(1, said[:size])
os.write(2, said[size:])
if status < 0:
    os.kill(os.getpid(), -status)
os._exit(status)
"""
PYTHON = sys.executable
_run = subprocess.run


class FakeLaunchd:
    """Put `bin` on PATH. `faults`: see `fault`; what was called and breached is kept until the end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir(parents=True)
        self.machine = Machine()
        self.faults: list[dict[str, Any]] = []
        self._short = Path(tempfile.mkdtemp(prefix="fake"))  # a socket's path must be
        path = str(self._short / "socket")
        script = self.bin / "launchctl"
        script.write_text(SHIM.format(python=PYTHON, path=path))
        script.chmod(0o755)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(path)
        self._listener.listen(64)
        threading.Thread(target=self._serve, daemon=True).start()

    @property
    def state(self) -> dict[str, Any]:
        """A copy of all there is to know, in plain values."""
        machine = self.machine
        with machine.lock:
            jobs = {target: job.as_dict() for target, job in machine.jobs.items()}
            return {
                "jobs": jobs,
                "disabled": dict(machine.disabled),
                "calls": [*machine.calls],
                "breaches": [*machine.breaches],
                "domains": machine.domains,
                "macos": machine.macos,
            }

    def set(self, **values: Any) -> None:
        with self.machine.lock:
            for name, value in values.items():
                assert hasattr(self.machine, name)
                setattr(self.machine, name, value)

    def fault(
        self,
        verb: str,
        status: int,
        said: str = "",
        times: int = 1,
        late: float = 0.0,
        acts: bool = False,
        kills: bool = False,
    ) -> None:
        """The next calls of `verb` end like this, doing nothing, or all the same where it `acts`.

        A negative status is a signal that `launchctl` dies of. `late`: seconds until it answers. `kills`:
        whoever has called is killed before anything else. With status 0 and nothing said it is only late.
        """
        fault = {"verb": verb, "status": status, "said": said, "late": late, "acts": acts, "kills": kills}
        with self.machine.lock:
            self.faults += [fault] * times

    def run(self, words: list[str], **how: Any) -> subprocess.CompletedProcess[str]:
        """As `subprocess.run`, without a process where `launchctl` answers at once."""
        is_mine = words[0] == "launchctl" and os.environ["PATH"].startswith(str(self.bin))
        if not is_mine or any(fault["late"] or fault["status"] < 0 for fault in self.faults):
            return _run(words, **how)
        status, out, err = self._performed(words[1:], 0)
        return subprocess.CompletedProcess(words, status, out, err)

    def calls(self, verb: str = "") -> list[str]:
        with self.machine.lock:
            return [call for call in self.machine.calls if call.startswith(verb)]

    def job(self, label: str) -> dict[str, Any] | None:
        with self.machine.lock:
            found = self._job(label)
            return found.as_dict() if found else None

    def fire(self, label: str) -> None:
        """What a timer of launchd's does: nothing where the job runs."""
        with self.machine.lock:
            job = self._job(label)
            assert job, f"{label} is not loaded"
            job.start()

    def strike(self, now: datetime) -> list[str]:
        """It is that minute on the machine's clock: whatever waits for it is started; the labels."""
        with self.machine.lock:
            fired = [job for job in self.machine.jobs.values() if job.waits_for(now)]
            for job in fired:
                job.start()
        return [job.label for job in fired]

    def login(self, folder: Path) -> list[str]:
        """The person logs in at the screen: what lies in their folder is loaded; what was refused."""
        self.set(domains=["gui", "user"])
        refused = []
        for path in sorted(folder.glob("*.plist")):
            if path.is_symlink():
                continue
            answer = launchd_verbs.bootstrap(self.machine, [f"gui/{os.getuid()}", str(path)])
            if answer != "":
                refused.append(path.stem)
        return refused

    def end(self) -> None:
        """End every process of every job, as the machine does when it goes down."""
        with self.machine.lock:
            jobs = [*self.machine.jobs.values()]
            for job in jobs:
                job.leave(signal.SIGKILL, 0.0)
            self.machine.jobs.clear()
        for job in jobs:
            assert job.gone.wait(30), f"{job.label} does not end"
        self._end_remains()

    def _end_remains(self) -> None:
        """End what jobs have left in groups of their own; all of it runs under the person's folder."""
        home = str(self.folder.parent)
        command = ["/bin/ps", "-A", "-ww", "-o", "pid=,args="]
        for row in _run(command, capture_output=True, encoding="utf-8").stdout.splitlines():
            number, _, arguments = row.strip().partition(" ")
            if f"{home}/" in arguments and int(number) != os.getpid():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(number), signal.SIGKILL)

    def close(self) -> None:
        """End for good."""
        self.end()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        shutil.rmtree(self._short, ignore_errors=True)

    def _job(self, label: str) -> Job | None:
        return next((job for job in self.machine.jobs.values() if job.label == label), None)

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                caller, _ = self._listener.accept()
                threading.Thread(target=self._answer, args=(caller,), daemon=True).start()

    def _answer(self, caller: socket.socket) -> None:
        said = b""
        while more := caller.recv(65536):
            said += more
        parent, *words = said.decode().split("\0")
        status, out, err = self._performed(words, int(parent))
        with contextlib.suppress(OSError), caller:  # who was killed reads no answer
            caller.sendall(f"{status} {len(out.encode())}\n{out}{err}".encode())

    def _performed(self, words: list[str], parent: int) -> tuple[int, str, str]:
        """Exit status, output and complaints of a call."""
        with self.machine.lock:
            self.machine.calls.append(" ".join(words))
            fault = next((each for each in self.faults if each["verb"] == words[0]), None)
            if fault:
                self.faults.remove(fault)
        if fault and fault["kills"]:
            os.kill(parent, signal.SIGKILL)
        fails = fault is not None and bool(fault["status"] or fault["said"] or fault["kills"])
        answer: launchd_verbs.Answer = ""
        if not fails or (fault and fault["acts"]):
            answer = launchd_verbs.perform(self.machine, words)
        if fault:
            time.sleep(fault["late"])
            if fails:
                status = fault["status"]
                return (status, "", f"{fault['said']}\n") if status else (0, fault["said"], "")
        return (0, answer, "") if isinstance(answer, str) else (answer[0], "", f"{answer[1]}\n")
