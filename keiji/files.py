"""Files that are whole or not there: written beside their place, then renamed into it."""

from __future__ import annotations

import os
from pathlib import Path


def write(path: Path, text: str, mode: int = 0o600) -> None:
    """Replace `path` by `text` in one step; the folder must exist.

    The temporary name begins with a dot, so that readers of a folder and systemd pass over it.
    """
    spare = path.with_name(f".{path.name}.{os.getpid()}~")
    try:
        with open(spare, "w", encoding="utf-8", opener=lambda p, flags: os.open(p, flags, mode)) as file:
            file.write(text)
        os.replace(spare, path)
    except BaseException as problem:
        spare.unlink(missing_ok=True)
        # A full disk names none, and the temporary one says nothing to anybody.
        if isinstance(problem, OSError) and (problem.filename is None or Path(problem.filename) == spare):
            problem.filename = str(path)
        raise


def read(path: Path) -> str | None:
    """The text of `path`, or None when there is no such file.

    What is no UTF-8 is replaced: garbage that a power cut left must not keep a task from its directives.
    """
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None


def link(path: Path, target: str) -> None:
    """Point the symbolic link `path` at `target` in one step, whether it is there or not."""
    spare = path.with_name(f".{path.name}.{os.getpid()}~")
    spare.unlink(missing_ok=True)
    os.symlink(target, spare)
    os.replace(spare, path)
