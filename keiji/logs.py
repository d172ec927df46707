"""The one format of log lines, the services' own log, and the exports that editors open."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, MutableMapping
from datetime import tzinfo
from pathlib import Path
from typing import Any

from keiji import files
from keiji.host import LogLine

_URGENCY = {"error": "<3>", "warning": "<4>"}  # as sd-daemon(3) has it


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


def service_log() -> Callable[..., None]:
    """A service's own log on stderr: `log(event, level="info", **fields)`.

    One fixed event name, then fields: ``directive verb=stop task=backup``. The journal, where it
    listens, adds time and level.
    """
    import structlog  # takes five times as long as Python's own start

    logger = structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr), processors=[_as_line], wrapper_class=structlog.BoundLogger
    )

    def log(event: str, level: str = "info", **fields: object) -> None:
        getattr(logger, level)(event, **fields)

    return log


def _as_line(_: Any, level: str, fields: MutableMapping[str, Any]) -> str:
    prefix = _URGENCY.get(level, "<6>") if "JOURNAL_STREAM" in os.environ else ""
    words = [str(fields.pop("event")), *(f"{name}={_word(value)}" for name, value in fields.items())]
    return prefix + " ".join(words)


def _word(value: object) -> str:
    text = str(value)
    return text if text and all(c.isprintable() and c not in ' "=' for c in text) else quote(text)
