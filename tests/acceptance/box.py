"""A whole machine in a folder: a Debian tree booted with systemd as its PID 1, by systemd-nspawn.

It needs no systemd on the machine that it runs on. The oddities were each found by failing.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from report import Failed

T = TypeVar("T")

CGROUPS = [Path("/sys/fs/cgroup", name) for name in ("systemd", "unified", "")]
# Another checkout may boot boxes at the same time.
PREFIX = f"keiji-box-{hashlib.sha256(bytes(Path(__file__).resolve())).hexdigest()[:8]}-"
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_LAST = 30  # lines that are told of a command that is not done in time
_PATIENCE = 60.0  # seconds, for whatever has no limit of its own
_RTMIN_4 = signal.SIGRTMIN + 4  # to systemd as PID 1: power off
_NSPAWN = [
    *("systemd-nspawn", "--quiet", "--boot", "--private-network"),  # offline
    *("--register=no", "--keep-unit"),  # there may be no machined, nor a unit that this runs in
    *("--resolv-conf=off", "--timezone=off", "--link-journal=no"),
]


class Box:
    """One machine: `up()`, then `run` and `login`, then `off()` or `cut()`."""

    def __init__(self, root: Path, name: str) -> None:
        self.root = root
        self.name = f"{PREFIX}{name}"
        self.console = root.with_suffix(".console")
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._leader = 0  # its PID 1, as this machine numbers it

    # -- power ------------------------------------------------------------------------------------

    def up(self) -> None:
        """Boot, and wait until all has started that should."""
        # The box sees one cgroup tree, as a modern system does, whatever this machine has.
        environment = {**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
        with self.console.open("ab") as console:
            self._nspawn = subprocess.Popen(
                [*_NSPAWN, f"--machine={self.name}", f"--directory={self.root}"],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
                # Without cgroups of their own two boxes would share one, and disturb each other.
                preexec_fn=lambda: _enter(self._cgroups(make=True)),
            )
        self._leader = self.wait_for(self._find_leader, "the box's PID 1")
        self.wait_for(self._has_started, "the box to have started")

    def off(self) -> None:
        """Power off as `poweroff` does; what does not end in time is killed."""
        if self._nspawn is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._leader, _RTMIN_4)
        try:
            self._nspawn.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            raise Failed("the box did not power off") from None
        finally:
            self.cut()

    def cut(self) -> None:
        """The plug is pulled; nothing in the box is told."""
        if self._nspawn is None:
            return
        for process in (self._leader, self._nspawn.pid):
            with contextlib.suppress(ProcessLookupError):
                if process and self._nspawn.poll() is None:
                    os.kill(process, signal.SIGKILL)
        self._nspawn.wait(_PATIENCE)
        self._nspawn, self._leader = None, 0
        sweep_cgroups(self.name)

    @property
    def is_up(self) -> bool:
        return self._nspawn is not None and self._nspawn.poll() is None

    # -- commands ---------------------------------------------------------------------------------

    def run(self, *command: str, status: int | None = 0, timeout: float = _PATIENCE) -> str:
        """What root's command printed, with its complaints when it failed.

        Raises `Failed` when it ends otherwise than with `status` (None: whatever it is) or not in time.
        """
        words = self._inside(["/usr/bin/env", "-i", f"PATH={SYSTEM_PATH}", "HOME=/root", *command])
        return self._finished(words, command, status, timeout)

    def login(self, person: str, script: str, status: int | None = 0, timeout: float = _PATIENCE) -> str:
        """The same for a shell script that a person runs in a login session of theirs."""
        return self._finished(self._session(person, script), [f"({person})", script], status, timeout)

    def begin_login(self, person: str, script: str) -> subprocess.Popen[bytes]:
        """Begin such a session without waiting for its end."""
        quiet: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL}
        return subprocess.Popen(
            self._session(person, script), stderr=subprocess.DEVNULL, preexec_fn=self._join, **quiet
        )

    def wait_for(self, condition: Callable[[], T], what: str, timeout: float = _PATIENCE) -> T:
        """Look until the condition is true, and return its value; raises `Failed`."""
        give_up = time.monotonic() + timeout
        while True:
            if value := condition():
                return value
            if self._nspawn is not None and self._nspawn.poll() is not None:
                raise Failed(
                    f"the box has ended, status {self._nspawn.returncode}: {self.console} tells more"
                )
            if time.monotonic() > give_up:
                raise Failed(f"waited {timeout:g} s in vain for {what}")
            time.sleep(0.1)

    # -- parts ------------------------------------------------------------------------------------

    def _session(self, person: str, script: str) -> list[str]:
        """A session by way of PAM and logind, as a login at a terminal or by ssh is one."""
        session = ["systemd-run", "--quiet", "--wait", "--pipe", "--collect", "--service-type=exec"]
        session += ["--setenv=XDG_SESSION_CLASS=user", "--setenv=XDG_SESSION_TYPE=tty"]
        session += [f"--property=User={person}", "--property=PAMName=login", "--property=WorkingDirectory=~"]
        return self._inside(
            ["/usr/bin/env", "-i", f"PATH={SYSTEM_PATH}", *session, "--", "bash", "-euc", script]
        )

    def _inside(self, command: Sequence[str]) -> list[str]:
        return ["nsenter", f"--target={self._leader}", "--all", "--", *command]

    def _finished(self, words: list[str], shown: Sequence[str], status: int | None, timeout: float) -> str:
        said = " ".join(shown)
        try:
            done = subprocess.run(
                words,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
                check=False,
                preexec_fn=self._join,
            )
        except subprocess.TimeoutExpired as late:
            heard = b"".join(part or b"" for part in (late.stdout, late.stderr)).decode(errors="replace")
            there = self._processes()
            last = "\n".join(heard.splitlines()[-_LAST:])
            raise Failed(f"{said}: not done after {timeout:g} s\n{last}\n{there}") from None
        if status is not None and done.returncode != status:
            raise Failed(f"{said}: status {done.returncode}, not {status}\n{done.stdout}{done.stderr}")
        return done.stdout if done.returncode == 0 else done.stdout + done.stderr

    def _processes(self) -> str:
        """What runs there; nothing when that can't be told, since a box that hangs may not answer."""
        try:
            return subprocess.run(
                self._inside(["ps", "-e", "f", "-o", "pid,etime,args"]),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                errors="replace",
                timeout=10,
                check=False,
                preexec_fn=self._join,
            ).stdout
        except subprocess.TimeoutExpired:
            return ""

    def _join(self) -> None:
        # logind 257 refuses who comes from outside of the box's cgroup.
        _enter([folder / "payload" for folder in self._cgroups()])

    def _cgroups(self, make: bool = False) -> list[Path]:
        found = [top / self.name for top in CGROUPS if os.access(top / "cgroup.procs", os.W_OK)]
        for folder in found:
            if make:
                folder.mkdir(exist_ok=True)
        return found

    def _find_leader(self) -> int:
        """nspawn's child that is PID 1 of another namespace, and systemd already."""
        assert self._nspawn
        for child in _read(Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children")).split():
            status = _read(Path("/proc", child, "status"))
            numbers = [line.split()[-1] for line in status.splitlines() if line.startswith("NSpid:")]
            if numbers == ["1"] and status.startswith("Name:\tsystemd\n"):
                return int(child)
        return 0

    def _has_started(self) -> bool:
        """Whether the boot has ended; a unit that failed, as some do in a box, is no matter."""
        return self.run("systemctl", "is-system-running", status=None).strip() in ("running", "degraded")


def sweep_cgroups(name: str = f"{PREFIX}*") -> None:
    """Remove the cgroups of this checkout's boxes; the last processes may still be leaving them."""
    for _ in range(50):
        left = [folder for top in CGROUPS for folder in top.glob(name)]
        for folder in left:
            for inner, _, _ in os.walk(folder, topdown=False):
                with contextlib.suppress(OSError):
                    Path(inner).rmdir()
        if not left:
            return
        time.sleep(0.05)


def _enter(cgroups: Sequence[Path]) -> None:
    for folder in cgroups:
        with contextlib.suppress(FileNotFoundError):
            (folder / "cgroup.procs").write_text("0")


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:
        return ""
