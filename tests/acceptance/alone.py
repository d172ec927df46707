"""What boots machines: as root, alone in this checkout, in namespaces that end with the process."""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from box import sweep_cgroups
from report import Failed

ROOT = Path(__file__).resolve().parents[2]
BOXES = ROOT / ".boxes"
INSIDE = "--inside"
_PR_SET_PDEATHSIG = 1
_NAMESPACES = [
    "unshare",
    "--mount",
    "--propagation=private",
    "--pid",
    "--fork",
    "--kill-child",
    "--mount-proc",
    "--",
]


def begin(script: Path, arguments: Sequence[str], needs: Mapping[str, str], work: Callable[[], int]) -> int:
    """Have `work` done in namespaces of its own: this script is run once more in them; the exit status.

    `needs`: tool → Debian package. Needs root, or asks for it by sudo. Raises `Failed`.
    """
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    if arguments[:1] == [INSIDE]:
        return work()
    if os.getuid() != 0:
        if not shutil.which("sudo"):
            raise Failed("needs root to boot machines: run it as root, or install sudo")
        os.execvp("sudo", ["sudo", "--", sys.executable, "-B", str(script), *arguments])
    _install(needs)
    with _alone_here():
        return _inside_namespaces([sys.executable, "-B", str(script), INSIDE, *arguments])


def build_package(*words: str, umask: int = 0o022, environment: Mapping[str, str] | None = None) -> None:
    """`packaging/deb` for who asked, so that what it makes is theirs; raises `Failed` with its last words."""
    settings = ["env", *(f"{name}={value}" for name, value in (environment or {}).items())]
    person = ["sudo", "-u", f"#{os.environ['SUDO_UID']}", "--"] if "SUDO_UID" in os.environ else []
    done = subprocess.run(
        [*person, *settings, str(ROOT / "packaging" / "deb"), *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        umask=umask,
        check=False,
    )
    if done.returncode != 0:
        raise Failed(done.stdout)


@contextmanager
def _alone_here() -> Iterator[None]:
    """No other run works in this checkout; what one has left that was killed is removed, and so is ours."""
    BOXES.mkdir(exist_ok=True)
    with (BOXES / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Failed("another run that boots machines goes on in this checkout") from None
        _sweep()
        try:
            yield
        finally:
            _sweep()


def _inside_namespaces(command: Sequence[str]) -> int:
    """Do it in namespaces that end with this process, and with them all boxes and mounts."""
    libc = ctypes.CDLL(None)
    inside = subprocess.Popen(
        [*_NAMESPACES, *command], preexec_fn=lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    )
    try:
        return inside.wait()
    finally:
        inside.kill()
        inside.wait()


def _install(needs: Mapping[str, str]) -> None:
    """What boots trees, and what else is asked for, where this machine lacks it."""
    missing = [package for tool, package in needs.items() if not shutil.which(tool)]
    if not missing:
        return
    print(f"installing {' '.join(missing)}", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "-qq", "install", "--yes", "--no-install-recommends", *missing]
    for command in (install, ["apt-get", "-qq", "update"], install):
        done = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False)
        if command is install and done.returncode == 0:
            return
    raise Failed(f"can't be installed: {' '.join(missing)}")


def _sweep() -> None:
    """Remove the machines; the trees that they are copies of stay, and what their consoles told."""
    sweep_cgroups()
    for left in BOXES.glob("run-*"):
        shutil.rmtree(left, ignore_errors=True)
