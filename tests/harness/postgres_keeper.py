"""postgres_keeper.py FOLDER: removes a server of `postgres.py` when who started it is gone.

Its standard input ends with them, however they end. It holds a lock on the folder, so that whoever starts
a server later can tell a folder that nobody keeps any more.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path

PREFIX = "keiji-pg-"


def main(folder: Path) -> None:
    held = _lock(folder, fcntl.LOCK_EX)  # a sweep may look at it right now
    print("held", flush=True)
    sys.stdin.buffer.read()
    _remove(folder)
    os.close(held)


def sweep() -> None:
    """Remove the servers whose keeper was killed, too."""
    for folder in Path("/tmp").glob(f"{PREFIX}*"):
        with suppress(OSError):  # held, or another person's
            held = _lock(folder)
            # What is empty may be a moment old, and its keeper on the way.
            if any(folder.iterdir()):
                _remove(folder)
            os.close(held)


def kill(folder: Path) -> None:
    """``kill -9`` of the server's processes; returns when they are gone."""
    main = postmaster(folder)
    gone = [] if main is None else processes(main)
    ends = []
    for pid in gone:
        with suppress(ProcessLookupError):
            ends.append(os.pidfd_open(pid))
            signal.pidfd_send_signal(ends[-1], signal.SIGKILL)
    for end in ends:
        _wait(end)
    # Where nobody reaps them a new server would take them for alive.
    for left in (folder / "data" / "postmaster.pid", *folder.glob(".s.*")):
        left.unlink(missing_ok=True)


def postmaster(folder: Path) -> int | None:
    """The server's main process, if there is one."""
    try:
        pid = int((folder / "data" / "postmaster.pid").read_text().split()[0])
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError, IndexError):
        return None
    return pid if os.fsencode(folder) in command else None


def processes(main: int) -> list[int]:
    """The process and its children, the parent first."""
    found = [main]
    for status in Path("/proc").glob("[0-9]*/status"):
        with suppress(OSError):
            lines = status.read_text().splitlines()
            if f"PPid:\t{main}" in lines:
                found.append(int(status.parent.name))
    return found


def _lock(folder: Path, how: int = fcntl.LOCK_EX | fcntl.LOCK_NB) -> int:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, how)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _remove(folder: Path) -> None:
    kill(folder)
    shutil.rmtree(folder, ignore_errors=True)


def _wait(end: int) -> None:
    import select

    select.select([end], [], [], 30)
    os.close(end)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
