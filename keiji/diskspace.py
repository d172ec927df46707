"""How much room the disk below a folder has left."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from keiji.findings import Finding, error, warning
from keiji.remedies import word

_MEBIBYTE = 1 << 20
_LITTLE = 100 * _MEBIBYTE
_FEW = 1000  # files


def shortages(folders: Iterable[Path]) -> Iterator[Finding]:
    """What is short on the disks that hold these folders; a disk that holds several is told once."""
    seen: set[int] = set()
    for folder in folders:
        with suppress(OSError):  # who needs the folder tells that it is not there
            device = folder.stat().st_dev
            if device not in seen:
                seen.add(device)
                yield from shortage(folder, os.statvfs(folder))


def shortage(folder: Path, disk: os.statvfs_result) -> Iterator[Finding]:
    """What is short on this disk, for those who are not root."""
    remedy = f"free some space: `df -h {word(folder)}` shows the disk"
    left = disk.f_bavail * disk.f_frsize
    if left < _MEBIBYTE:
        yield error(f"the disk that holds {folder} is full", remedy)
    elif left < _LITTLE:
        yield warning(f"the disk that holds {folder} has {left // _MEBIBYTE} MiB left", remedy)
    remedy = f"remove some files: `df -i {word(folder)}` shows the disk"
    if not disk.f_files:
        return  # this file system makes room for files as they come
    if not disk.f_favail:
        yield error(f"the disk that holds {folder} takes no more files", remedy)
    elif disk.f_favail < _FEW:
        yield warning(f"the disk that holds {folder} takes {disk.f_favail} more files only", remedy)
