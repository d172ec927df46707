"""Taking turns: one lock file a task for whoever changes it, and locks on whole folders."""

from __future__ import annotations

import fcntl
import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from keiji.errors import TaskBusy
from keiji.folders import Folders

PATIENCE = 60.0  # seconds; longer than the slowest stop
_PAUSE = 0.02
_MANY = 65536


@contextmanager
def task_lock(folders: Folders, slug: str, patience: float = PATIENCE) -> Iterator[None]:
    """Hold the task's lock; raises `TaskBusy` when another holds it for `patience` seconds.

    The file stays when the lock is let go: unlinking it would give two holders two files.
    """
    path = folders.lock(slug)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _acquire(descriptor, slug, patience)
        yield
    finally:
        os.close(descriptor)


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold a lock on the folder itself; a second command waits until what is made in it is whole."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def allow_many() -> None:
    """Let this process hold a lock for each of some thousand tasks."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MANY if hard < 0 else min(_MANY, hard)
    if 0 <= soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _acquire(descriptor: int, slug: str, patience: float) -> None:
    deadline = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TaskBusy(
                    f"task {slug!r} is being changed by another keiji command; try again"
                ) from None
            time.sleep(_PAUSE)
