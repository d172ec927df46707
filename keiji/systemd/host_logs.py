"""Logs on systemd: the journal's, or files where there is none that can be read.

A run decides by itself (`runner_logs`): what the manager connects to the journal goes there, what it connects
to ``/dev/null`` goes into the log file. The manager does the latter where no journal listens, and where units
say so: `decide` has them say it where a journal listens and can't be read. So each line is in one of the two
places, and whoever reads looks into both.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING

from keiji import files
from keiji.errors import HostFailed
from keiji.folders import Folders
from keiji.host import LogLine, Span
from keiji.systemd import bus_service, journal, names

if TYPE_CHECKING:
    from keiji.logfiles import LogFiles

_PAUSE = 0.05
_PATIENCE = 3.0  # seconds for a line to come back from the journal
_BUSY_PATIENCE = 10.0  # where it has shown older ones


def decide(folders: Folders) -> None:
    """Find out by trying whether the journal gives back what it is told; units are rendered by it."""
    if journal.SOCKET.exists() and _gives_back():
        folders.filed.unlink(missing_ok=True)
    elif not folders.filed.exists():
        files.write(folders.filed, "")


def are_files(folders: Folders) -> bool:
    """Whether what is said now goes to files."""
    return folders.filed.exists() or not journal.SOCKET.exists()


def _gives_back() -> bool:
    """Whether a line comes back: what is kept for nobody, or may not be read, doesn't."""
    token = os.urandom(16).hex()
    if not journal.write("keiji looks whether this can be read", 6, [("KEIJI_PROBE", token)]):
        return False
    began, patience = time.monotonic(), None
    while not _reads([f"KEIJI_PROBE={token}", journal.own_uid()]):
        if patience is None:
            patience = _BUSY_PATIENCE if _reads([journal.own_uid()]) else _PATIENCE
        if time.monotonic() - began > patience:
            return False
        time.sleep(_PAUSE)
    return True


def _reads(matches: list[str]) -> bool:
    try:
        return bool(journal.read(matches, 1))
    except (HostFailed, OSError):
        return False


class HostLogs:
    """The part of the `Host` that is about logs; see `keiji.host.Host`."""

    def __init__(self, folders: Folders) -> None:
        self.folders = folders

    @cached_property
    def files(self) -> LogFiles:
        from keiji.logfiles import LogFiles  # most commands read and write none

        return LogFiles(self.folders)

    def log_path(self, slug: str) -> str:
        return (
            str(self.folders.task_log(slug)) if are_files(self.folders) else f"journal:{names.service(slug)}"
        )

    def log(self, slug: str, level: str, message: str) -> None:
        tied = [("USER_UNIT", names.service(slug)), ("USER_UNIT", names.TARGET), ("KEIJI_TASK", slug)]
        if self.folders.filed.exists() or not journal.write(message, 3 if level == "ERROR" else 6, tied):
            self.files.log(slug, level, message)

    def tell_scheduler(self, message: str) -> None:
        """What the manager itself says where there is a journal."""
        if are_files(self.folders):
            self.files.tell("scheduler", "INFO", message)

    def task_log(self, slug: str, lines: int | None, span: Span | None = None) -> list[LogLine]:
        filed = self.files.task_log(slug, lines, span)
        if are_files(self.folders):
            return filed
        if span:
            found = journal.read_run(slug, span)
        else:
            found = journal.read(journal.task_matches(slug), lines)
        return _merged(found, filed, lines)

    def run_log_after(self, slug: str, span: Span, cursor: str) -> list[LogLine]:
        if not are_files(self.folders):
            is_journal_s = "=" in cursor
            found = journal.read_run(slug, span, cursor) if is_journal_s or not cursor else []
            if found or is_journal_s:
                return found
        return self.files.run_log_after(slug, span, cursor)

    def follow_task_log(self, slug: str, lines: int, span: Span | None = None) -> Iterator[LogLine]:
        if are_files(self.folders):
            return self.files.follow_task_log(slug, lines, span)
        return journal.follow(journal.task_matches(slug), lines, span)

    def system_log(self, part: str, lines: int | None) -> list[LogLine]:
        filed = self.files.system_log(part, lines)
        if are_files(self.folders):
            return filed
        return _merged(journal.read(_system_matches(part), lines), filed, lines)

    def follow_system_log(self, part: str, lines: int) -> Iterator[LogLine]:
        if are_files(self.folders):
            return self.files.follow_system_log(part, lines)
        return journal.follow(_system_matches(part), lines)


def _merged(found: list[LogLine], filed: list[LogLine], lines: int | None) -> list[LogLine]:
    """Both in the order of their times; the last `lines`."""
    both = sorted([*found, *filed], key=lambda line: line.at) if filed else found
    return both if lines is None else both[len(both) - min(lines, len(both)) :]


def _system_matches(part: str) -> list[str]:
    if part == "bus":
        return bus_service.log_matches()
    return [f"--user-unit={names.TARGET}", "--user-unit=keiji-*.timer"]
