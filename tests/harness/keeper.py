"""The keeper: starts journald and the user manager, and starts them again for `manager-restart`.

It is a process of its own inside the namespaces, and root's: a command of an ordinary person asks it
through a socket.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from person import CGROUPS, Person

SOCKET = Path("/run/harness/socket")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
SYSTEMD = "/usr/lib/systemd/systemd"
CONFIGURED = Path("/run/systemd/journald.conf.d/zzz-keeper.conf")
JOURNALS = {"no-journal": "", "deaf-journal": "[Journal]\nStorage=none\n"}
PATIENCE = 100  # seconds for a manager to come up or to leave; its units have 90
ALONE: dict[str, Any] = {
    "stdin": subprocess.DEVNULL,
    "stdout": subprocess.DEVNULL,
    "stderr": subprocess.DEVNULL,
    "start_new_session": True,  # the terminal's Ctrl-C is not for them
}


class NotUp(Exception):
    """Something did not start; the message says what, and the journal's last lines."""


def fork(person: Person) -> None:
    """Starts the keeper and returns when the manager is up; raises `NotUp`."""
    reader, writer = os.pipe()
    if os.fork() == 0:
        try:
            os.close(reader)
            os.setsid()
            kept = Keeper(person)
            with os.fdopen(writer, "w") as answer:
                answer.write(kept.try_to(kept.start))
            kept.serve()
        finally:
            os._exit(1)  # never on into the caller's part
    os.close(writer)
    with os.fdopen(reader) as answer:
        failure = answer.read()
    if failure:
        raise NotUp(failure)


class Keeper:
    """Owns the two processes."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.journal = os.environ.get("KEIJI_TEST_JOURNAL") or "journal"
        self.journald: subprocess.Popen[bytes] | None = None
        self.manager: subprocess.Popen[bytes] | None = None

    def serve(self) -> None:
        """Answers `manager-restart` for ever; each answer is empty, or says what went wrong."""
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(SOCKET))
        SOCKET.chmod(0o666)
        listener.listen()
        while True:
            asker, _ = listener.accept()
            with asker:
                how = asker.recv(100).decode()
                with contextlib.suppress(BrokenPipeError):
                    asker.sendall(self.try_to(lambda how=how: self.restart(how)).encode())

    def try_to(self, act: Callable[[], None]) -> str:
        """What went wrong, or nothing."""
        try:
            act()
        except (OSError, subprocess.SubprocessError, NotUp) as failure:
            command = ["journalctl", "-qn20", "--no-pager"]
            last = subprocess.run(command, capture_output=True, text=True, check=False)
            return f"{failure}\n{last.stdout}"
        return ""

    def restart(self, how: str) -> None:
        """`login`: out and in again; `reboot`: the same with another boot_id; `power-cut`: unannounced.

        `no-journal` and `deaf-journal`: a login on a machine where none listens, or it keeps nothing; any
        other brings it back.
        """
        assert self.manager
        if how != "power-cut":
            self.manager.terminate()
            self.manager.wait(PATIENCE)
        kill_all(self.person.manager)
        self.manager.wait(PATIENCE)
        remove(self.person.manager)
        shutil.rmtree(self.person.runtime)  # as logind does: transient units and runtime masks go
        journal = how if how in JOURNALS else "journal"
        if how in ("reboot", "power-cut") or journal != self.journal:
            self.stop_journald()  # its entries carry the boot_id
        if how in ("reboot", "power-cut"):
            another_boot_id()
        self.journal = journal
        self.start()

    def stop_journald(self) -> None:
        if self.journald:
            self.journald.terminate()
            self.journald.wait(PATIENCE)
        self.journald = None
        for name in ("socket", "stdout", "dev-log"):
            Path("/run/systemd/journal", name).unlink(missing_ok=True)

    def start(self) -> None:
        """Starts what is not there, and waits until the manager has started what it should."""
        if self.journald is None and self.journal != "no-journal":
            CONFIGURED.write_text(JOURNALS.get(self.journal, ""))
            self.journald = start_journald()
        person = self.person
        make_cgroups(person)
        person.runtime.mkdir(mode=0o700)
        person.own(person.runtime)
        # else the manager's own lines ("Started ...") are not in the journal
        environment = {**person.environment, "SYSTEMD_LOG_TARGET": "journal"}
        self.manager = person.start([SYSTEMD, "--user"], person.manager / "init.scope", environment, **ALONE)
        until((person.runtime / "bus").is_socket, "the user manager does not come up", self.manager)
        waiting = ["systemctl", "--user", "is-system-running", "--wait"]
        person.start(waiting, person.session, person.environment, **ALONE).wait(PATIENCE)


def start_journald() -> subprocess.Popen[bytes]:
    """A persistent journal from the first line: only that is split by user."""
    Path("/run/systemd/journal/flushed").touch()
    stdout = Path("/run/systemd/journal/stdout")
    stdout.unlink(missing_ok=True)
    cgroup = CGROUPS / "system.slice" / "systemd-journald.service"
    cgroup.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        ["/usr/lib/systemd/systemd-journald"],
        preexec_fn=lambda: (cgroup / "cgroup.procs").write_text("0"),
        **ALONE,
    )
    until(stdout.is_socket, "journald does not come up", process)
    return process


def make_cgroups(person: Person) -> None:
    """The tree that the machine's systemd would make, with the manager's part handed to the person."""
    for folder in (person.session, person.manager / "init.scope"):
        folder.mkdir(parents=True, exist_ok=True)
    for folder in (CGROUPS, *reversed(person.manager.relative_to(CGROUPS).parents[:-1])):
        for controller in (CGROUPS / "cgroup.controllers").read_text().split():
            with contextlib.suppress(OSError):  # not every machine hands every controller down
                (CGROUPS / folder / "cgroup.subtree_control").write_text(f"+{controller}")
    for folder in (person.manager, person.manager / "init.scope"):
        person.own(folder, *(folder / f"cgroup.{name}" for name in ("procs", "threads", "subtree_control")))


def kill_all(cgroup: Path) -> None:
    """Kills every process below a cgroup at once, as a power cut does."""
    kill = cgroup / "cgroup.kill"
    if kill.exists():  # Linux 5.14
        kill.write_text("1")
    while pids := [pid for file in cgroup.rglob("cgroup.procs") for pid in file.read_text().split()]:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        time.sleep(0.01)


def remove(cgroup: Path) -> None:
    for folder, _, _ in os.walk(cgroup, topdown=False):
        Path(folder).rmdir()


def another_boot_id() -> None:
    """Only this namespace sees it."""
    file = Path("/run/harness/boot_id")
    first = not file.exists()
    file.write_text(f"{uuid.uuid4()}\n")
    if first:
        subprocess.run(["mount", "--bind", str(file), str(BOOT_ID)], check=True)


def until(condition: Callable[[], bool], complaint: str, process: subprocess.Popen[bytes]) -> None:
    """Waits for a condition; raises `NotUp` when the process ends or patience does."""
    give_up = time.monotonic() + PATIENCE
    while not condition():
        if process.poll() is not None or time.monotonic() > give_up:
            raise NotUp(f"{complaint} (status {process.poll()})")
        time.sleep(0.01)
