"""The one format of log lines, and the exports that editors open."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import tzinfo
from pathlib import Path

from keiji import files
from keiji.host import LogLine


def format_line(line: LogLine, zone: tzinfo) -> str:
    """``time=2026-11-23T13:31:57.164+03:00 level=INFO msg="Pinging…"``"""
    time = line.at.astimezone(zone).isoformat(timespec="milliseconds")
    return f"time={time} level={line.level} msg={quote(line.message)}"


def quote(text: str) -> str:
    """`text` in double quotes on one line; what a line can't hold is written with a backslash."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return '"' + "".join(c if c.isprintable() else repr(c)[1:-1] for c in escaped) + '"'


def export(path: Path, lines: Iterable[LogLine], zone: tzinfo) -> Path:
    """Write lines to a file that an editor can open."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    files.write(path, "".join(format_line(line, zone) + "\n" for line in lines))
    return path
