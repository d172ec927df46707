"""Folders outside of keiji's own that it finds missing: made for its files, and gone with them if empty."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from keiji import files
from keiji.folders import Folders


def missing(wanted: Iterable[Path]) -> list[Path]:
    """Those of the folders and of their parents that are not there."""
    found: set[Path] = set()
    for folder in wanted:
        found.update(path for path in (folder, *folder.parents) if not path.exists())
    return sorted(found)


def note(folders: Folders, found: Iterable[Path]) -> None:
    """Remember what was missing when keiji came here; what a later `init` finds missing was removed since."""
    if not folders.elsewhere.exists():
        own = (folders.home, folders.workspace)
        files.write(folders.elsewhere, "".join(f"{path}\n" for path in found if path not in own))


def noted(folders: Folders) -> list[Path]:
    return [Path(line) for line in (files.read(folders.elsewhere) or "").splitlines()]


def clear(found: Iterable[Path]) -> None:
    """Remove those of the folders that are empty, children first."""
    for folder in sorted(found, reverse=True):
        with suppress(OSError):
            os.rmdir(folder)
