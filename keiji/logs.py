"""The one format of log lines, the services' own log, and the exports that editors open."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, MutableMapping
from datetime import tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keiji import files
from keiji.folders import Folders
from keiji.host import LogLine
from keiji.runner_files import quote

if TYPE_CHECKING:
    from keiji.logfiles import LogFiles

_URGENCY = {"error": "<3>", "warning": "<4>"}  # as sd-daemon(3) has it


def format_line(line: LogLine, zone: tzinfo) -> str:
    """``time=2026-11-23T13:31:57.164+03:00 level=INFO msg="Pinging…"``"""
    time = line.at.astimezone(zone).isoformat(timespec="milliseconds")
    said = line.message if line.is_event else f"msg={quote(line.message)}"
    return f"time={time} level={line.level} {said}"


def export(path: Path, lines: Iterable[LogLine], zone: tzinfo) -> Path:
    """Write lines to a file that an editor can open."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    files.write(path, "".join(format_line(line, zone) + "\n" for line in lines))
    return path


def keep_output(folders: Folders, name: str) -> None:
    """Have what this service says on stdout and stderr kept as ``logs/services/<name>.log``.

    Only where it would be lost: where no journal listens.
    """
    if "JOURNAL_STREAM" not in os.environ:
        from keiji import runner, runner_logs

        path = folders.service_log(name)
        runner.captured = runner_logs.capture(str(path), "", str(folders.settings), str(folders.home))


def _is_kept() -> bool:
    runner = sys.modules.get("keiji.runner")
    return runner is not None and runner.captured is not None


def service_log(folders: Folders, name: str) -> Callable[..., None]:
    """A service's own log: `log(event, level="info", **fields)`.

    One fixed event name, then fields: ``event=directive verb=stop task=backup``. Where `keep_output` has
    kept what is said, into the same file; else on stderr, and the journal adds time and level by itself.
    """
    import structlog  # takes five times as long as Python's own start

    from keiji.logfiles import LogFiles

    filed = LogFiles(folders)
    sink = _LineWriter(filed, name) if _is_kept() else sys.stderr

    def with_time(_: Any, level: str, fields: MutableMapping[str, Any]) -> str:
        return f"time={filed.now()} level={level.upper()} {_words(fields)}"

    logger = structlog.wrap_logger(
        structlog.PrintLogger(sink),  # type: ignore[arg-type]
        processors=[_for_journal if "JOURNAL_STREAM" in os.environ else with_time],
        wrapper_class=structlog.BoundLogger,
    )

    def log(event: str, level: str = "info", **fields: object) -> None:
        getattr(logger, level)(event, **fields)

    return log


class _LineWriter:
    """What `structlog.PrintLogger` writes to: collects a line, and writes it whole."""

    def __init__(self, filed: LogFiles, name: str) -> None:
        self._append = filed.append_service
        self._name, self._text = name, ""

    def write(self, text: str) -> None:
        self._text += text
        while "\n" in self._text:
            line, _, self._text = self._text.partition("\n")
            self._append(self._name, line)

    def flush(self) -> None:
        pass


def _for_journal(_: Any, level: str, fields: MutableMapping[str, Any]) -> str:
    return _URGENCY.get(level, "<6>") + _words(fields)


def _words(fields: MutableMapping[str, Any]) -> str:
    first = {"event": fields.pop("event")}
    return " ".join(f"{name}={_word(value)}" for name, value in {**first, **fields}.items())


def _word(value: object) -> str:
    text = str(value)
    return text if text and all(c.isprintable() and c not in ' "=' for c in text) else quote(text)
