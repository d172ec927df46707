"""What people and programs read: tables, records and JSON on stdout, notes and errors on stderr."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from datetime import datetime, timedelta
from io import BufferedWriter, FileIO, TextIOWrapper
from typing import Any, TextIO

_COLOURS = {"error": "31", "warning": "33"}


def say(text: str) -> None:
    """A line for the person who asked."""
    print(text, flush=True)


def note(text: str) -> None:
    """A line beside the answer."""
    _beside(f"note: {text}")


def progress(text: str) -> None:
    """What is being done, in a terminal's last line, in place of what that said; empty: nothing any more."""
    try:
        print(f"\r\x1b[K{text}", end="", file=sys.stderr, flush=True)
    except OSError:
        pass


def error(text: str) -> None:
    """What went wrong, in red on a terminal."""
    prefix = "\x1b[31mkeiji:\x1b[0m" if has_colour(sys.stderr) else "keiji:"
    _beside(f"{prefix} {text}")


def marked(severity: str) -> str:
    """The word for how bad something is, in its colour on a terminal."""
    colour = _COLOURS.get(severity)
    return f"\x1b[{colour}m{severity}\x1b[0m" if colour and has_colour(sys.stdout) else severity


class _Stdout(FileIO):
    """Says which file it is that can't be written."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            error.filename = "standard output"
            raise


def prepare() -> None:
    """Have text that a stream's encoding lacks written with backslashes, and errors of stdout name it."""
    for stream in _streams():
        stream.reconfigure(errors="backslashreplace")
        if stream is sys.__stdout__:
            sys.stdout = TextIOWrapper(
                BufferedWriter(_Stdout(stream.fileno(), "w", closefd=False)),
                encoding=stream.encoding,
                errors=stream.errors,
                line_buffering=stream.line_buffering,
            )


def flush() -> None:
    """Write out what is buffered; raises `OSError` where that can't be."""
    for stream in _streams():
        stream.flush()


def abandon() -> None:
    """Drop what can't be written, which Python would complain of at exit."""
    for stream in _streams():
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def has_colour(stream: TextIO) -> bool:
    """Whether colour may be written to `stream` (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def dump(value: Any) -> None:
    """One JSON document."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print columns."""
    for line in columns(head, rows):
        print(line)


def columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as their widest cell, as lines; control characters are made visible."""
    cells = [head, *([_visible(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


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


def _streams() -> list[TextIOWrapper]:
    """stdout and stderr, unless they were closed (None) or replaced by something simpler."""
    return [stream for stream in (sys.stdout, sys.stderr) if isinstance(stream, TextIOWrapper)]


def _beside(line: str) -> None:
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        pass  # there is nowhere left to say it


def _visible(text: str) -> str:
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
