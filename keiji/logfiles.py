"""Logs that are files: where there is no journal, and on macOS. `runner_files` writes them.

``logs/tasks/<slug>/task.log`` holds what the task's runs say, by the runner, and keiji's own lines about it;
``logs/services/<name>.log`` what keiji's services say. A line of a run ends with its id, which commands
don't print.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path

from keiji import runner_files, settings
from keiji.errors import KeijiError
from keiji.folders import Folders
from keiji.host import LogLine, Span
from keiji.logreading import Tail, last_lines, lines_of, opened, position, since

SCHEDULER = "scheduler"
_SLACK = timedelta(seconds=1)  # between the clocks' readings of who asked for a run and who wrote


class LogFiles:
    """The part of a `Host` that is about logs, over files."""

    def __init__(self, folders: Folders) -> None:
        self.folders = folders

    def log_path(self, slug: str) -> str:
        return str(self.folders.task_log(slug))

    def log(self, slug: str, level: str, message: str) -> None:
        """Into the task's log, and the scheduler's, which is about all of them."""
        self._append(self.folders.task_log(slug), self.folders.builds(slug), level, message)
        self.tell(SCHEDULER, level, f"{slug}: {message}")

    def tell(self, name: str, level: str, message: str) -> None:
        """A line of text into a service's log."""
        self._append(self.folders.service_log(name), self.folders.home, level, message)

    def append_service(self, name: str, line: str) -> None:
        """A line that is formatted already."""
        self._write(self.folders.service_log(name), self.folders.home, line)

    def now(self) -> str:
        """The time in the zone of the settings, as lines have it."""
        now = datetime.fromtimestamp(time.time(), timezone.utc)
        with suppress(KeijiError, OSError):
            now = now.astimezone(settings.load(self.folders)[0].zone)
        return now.isoformat(timespec="milliseconds")

    def task_log(self, slug: str, lines: int | None, span: Span | None = None) -> list[LogLine]:
        return _read(self.folders.task_log(slug), lines, span)

    def run_log_after(self, slug: str, span: Span, cursor: str) -> list[LogLine]:
        with opened(self.folders.task_log(slug)) as files:
            new = position(files, cursor)
            if span.began and not cursor:  # asked again and again, and the log may be large
                new = since(new, span.began - _SLACK)
            return [line for line in lines_of(new) if line.run == span.run]

    def follow_task_log(self, slug: str, lines: int, span: Span | None = None) -> Iterator[LogLine]:
        return _follow(self.folders.task_log(slug), lines, span)

    def system_log(self, part: str, lines: int | None) -> list[LogLine]:
        return _read(self.folders.service_log(part), lines)

    def follow_system_log(self, part: str, lines: int) -> Iterator[LogLine]:
        return _follow(self.folders.service_log(part), lines)

    def _append(self, path: Path, owner: Path, level: str, message: str) -> None:
        self._write(path, owner, f"time={self.now()} level={level} msg={runner_files.quote(message)}")

    def _write(self, path: Path, owner: Path, line: str) -> None:
        """A log that can't be written undoes nothing."""
        limit, _ = runner_files.wanted(str(self.folders.settings))
        log = runner_files.LogFile(str(path), limit, str(owner))
        log.write([f"{line}\n".encode("utf-8", "backslashreplace")])
        log.close()


def _read(path: Path, lines: int | None, span: Span | None = None) -> list[LogLine]:
    """The last `lines` lines (None: all), oldest first."""
    with opened(path) as files:
        if span is None and lines is not None:
            return last_lines(files, lines)
        found = lines_of(files)
        if span is not None:
            found = (line for line in found if line.run == span.run)
        return list(deque(found, maxlen=lines))


def _follow(path: Path, lines: int, span: Span | None = None) -> Iterator[LogLine]:
    tail = Tail(path)
    yield from deque(_read_to(tail, lines, span), maxlen=lines)
    for line in tail.coming():
        if span is None or line.run == span.run:
            yield line


def _read_to(tail: Tail, lines: int, span: Span | None) -> list[LogLine]:
    """What is there now; the tail goes on from there."""
    with opened(tail.path) as files:
        tail.begin(files)
        if span is None:
            return last_lines(files, lines)
        return [line for line in lines_of(files) if line.run == span.run]
