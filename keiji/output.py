"""What people and programs read: tables, records and JSON on stdout, notes and errors on stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, TextIO


def say(text: str) -> None:
    """A line for the person who asked."""
    print(text, flush=True)


def note(text: str) -> None:
    """A line beside the answer."""
    print(f"note: {text}", file=sys.stderr, flush=True)


def error(text: str) -> None:
    """What went wrong, in red on a terminal."""
    prefix = "\x1b[31mkeiji:\x1b[0m" if has_colour(sys.stderr) else "keiji:"
    print(f"{prefix} {text}", file=sys.stderr, flush=True)


def has_colour(stream: TextIO) -> bool:
    """Whether colour may be written to `stream` (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def dump(value: Any) -> None:
    """One JSON document."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as their widest cell; control characters are made visible."""
    cells = [head, *([_visible(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def moment(time: datetime | None, zone: Any = None) -> str | None:
    """RFC 3339 in `zone` (None: the time's own), milliseconds only where there is a fraction."""
    if time is None:
        return None
    fraction = "milliseconds" if time.microsecond else "seconds"
    return (time.astimezone(zone) if zone else time).isoformat(timespec=fraction)


def stretch(length: timedelta) -> str:
    """A length of time in one or two units: ``49ms``, ``2.5s``, ``12s``, ``3min 20s``, ``4d 3h``."""
    seconds = length.total_seconds()
    if seconds < 1:
        return f"{max(seconds, 0) * 1000:.0f}ms"
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = int(seconds)
    for size, unit, part, smaller in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size}{unit}" + (f" {rest}{smaller}" if rest else "")
    return f"{whole}s"


def one_line(text: str) -> str:
    """`text` on one line, its line breaks written as ``\\n``."""
    return _visible(text.strip().replace("\\", "\\\\").replace("\n", "\\n"))


def _visible(text: str) -> str:
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
