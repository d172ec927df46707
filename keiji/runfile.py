"""The format of a run file: what the runner writes of one run, and others in its name.

Text, ``key=value`` a line, after the head ``keiji 1``; a run that has ended has ``end`` as its last
line. The runner writes the same format by itself, since it can import nothing of keiji.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

from keiji.run import Result

HEAD = "keiji 1"
TAIL = "end"
WHY = ("timer", "manual", "boot")
_USUAL_FILE = 1 << 13  # bytes
_LARGEST_FILE = 1 << 20  # bytes; the runner keeps the error text to some thousand characters

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z-]{0,63}")
_SLUG = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_TIME = re.compile(r"([0-9]{1,11})(?:\.([0-9]{1,6}))?")
_SMALL = re.compile(r"[0-9]{1,9}")  # what the columns of every database hold
_LARGE = re.compile(r"[0-9]{1,18}")
_SECONDS = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")
_ESCAPED = re.compile(r"\\([\\n])")


class DamagedRunFile(ValueError):
    """A run file that says nothing sure."""


@dataclass(frozen=True)
class Entry:
    """What a run file says. `ended` and `result` are None while the run goes on.

    Times are aware (UTC, to the microsecond); `why` is ``timer``, ``manual`` or ``boot``; `cpu` is in
    seconds, `memory` in bytes.
    """

    id: str
    task: str
    build: str
    pid: int
    boot: str
    why: str
    began: datetime
    ended: datetime | None = None
    result: Result | None = None
    status: int | None = None
    signal: int | None = None
    attempts: int = 1
    cpu: float | None = None
    memory: int | None = None
    error: str = ""

    def evolve(self, **changes: object) -> Entry:
        return replace(self, **changes)  # type: ignore[arg-type]


def escape(text: str) -> str:
    r"""Text as one line: ``\`` → ``\\``, a new line → ``\n``."""
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def unescape(text: str) -> str:
    """The text that `escape` was given."""
    if "\\" not in text:
        return text
    return _ESCAPED.sub(lambda found: "\n" if found[1] == "n" else "\\", text)


def fields(text: str) -> dict[str, str]:
    """The ``key=value`` lines of a run file or a latch; what is no such line is passed over."""
    pairs = (line.partition("=") for line in text.split("\n"))
    return {key: unescape(value) for key, equals, value in pairs if equals}


def lines(said: Mapping[str, object]) -> str:
    """The ``key=value`` lines that `fields` reads back; what is None is left out."""
    text = "".join(f"{key}={escape(str(value))}\n" for key, value in said.items() if value is not None)
    # Half of a surrogate pair can't be written; better a visible escape than no record.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def read(path: Path) -> Entry:
    """The run that the file tells of; raises `DamagedRunFile`, `OSError`."""
    with path.open("rb", buffering=0) as file:
        data = file.read(_USUAL_FILE) or b""  # for the largest each read would ask for new memory
        while _USUAL_FILE <= len(data) <= _LARGEST_FILE and (more := file.read(_LARGEST_FILE)):
            data += more
    if len(data) > _LARGEST_FILE:
        raise DamagedRunFile("it is too large")
    return parse(data.decode("utf-8", "replace"))


def parse(text: str) -> Entry:
    """The run that the text tells of; raises `DamagedRunFile`.

    An end that was cut off counts as none: whoever was writing it has not said how the run ended.
    """
    head, _, rest = text.partition("\n")
    if head != HEAD:
        raise DamagedRunFile(f"it does not begin with {HEAD!r}")
    body, end, _ = rest.partition(f"\n{TAIL}\n")
    said = fields(body)
    try:
        entry = _begun(said)
        return _ended(entry, said) if end else entry
    except KeyError as error:
        raise DamagedRunFile(f"it has no {error.args[0]}=") from None


def render(entry: Entry) -> str:
    """The file of a run that has ended, or of one that goes on."""
    said: dict[str, object] = {
        key: getattr(entry, key) for key in ("id", "task", "build", "pid", "boot", "why")
    }
    said["began"] = _stamp(entry.began)
    if entry.ended is None:
        return f"{HEAD}\n{lines(said)}"
    said["ended"] = _stamp(entry.ended)
    said |= {key: getattr(entry, key) for key in ("result", "status", "signal", "attempts")}
    said["cpu"] = None if entry.cpu is None else f"{entry.cpu:.6f}"
    said |= {"memory": entry.memory, "error": entry.error}
    return f"{HEAD}\n{lines(said)}{TAIL}\n"


def moment(at: float) -> datetime:
    """The time of so many seconds since the epoch."""
    return EPOCH + timedelta(microseconds=round(at * 1e6))


def listed(folder: Path) -> Iterator[Path]:
    """The files of a folder but for those that are still being written."""
    try:
        with os.scandir(folder) as found:
            for entry in found:
                if not entry.name.startswith(".") and entry.is_file(follow_symlinks=False):
                    yield folder / entry.name
    except FileNotFoundError:
        return


def unlisted(folder: Path) -> list[Path]:
    """What lies in a folder of files and is none: folders, links, pipes."""
    with suppress(FileNotFoundError), os.scandir(folder) as found:
        return [
            folder / entry.name
            for entry in found
            if not entry.name.startswith(".") and not entry.is_file(follow_symlinks=False)
        ]
    return []


def _begun(said: dict[str, str]) -> Entry:
    return Entry(
        id=_matching(_ID, said, "id"),
        task=_matching(_SLUG, said, "task"),
        build=said.get("build", ""),
        pid=_whole(said, "pid") or 0,
        boot=said.get("boot", ""),
        why=_one_of(WHY, said, "why"),
        began=_time(said, "began"),
    )


def _ended(entry: Entry, said: dict[str, str]) -> Entry:
    attempts = _whole(said, "attempts")
    cpu = said.get("cpu", "")
    return entry.evolve(
        # The clock may have been set back while it ran.
        ended=max(entry.began, _time(said, "ended")),
        result=Result(_one_of([result.value for result in Result], said, "result")),
        status=_whole(said, "status"),
        signal=_whole(said, "signal"),
        attempts=1 if attempts is None else attempts,
        cpu=float(_matching(_SECONDS, said, "cpu")) if cpu else None,
        memory=_whole(said, "memory", _LARGE),
        error=said.get("error", ""),
    )


def _matching(pattern: re.Pattern[str], said: dict[str, str], key: str) -> str:
    if not pattern.fullmatch(said[key]):
        raise DamagedRunFile(f"{key}={said[key][:80]!r} is not possible")
    return said[key]


def _one_of(allowed: list[str] | tuple[str, ...], said: dict[str, str], key: str) -> str:
    if said[key] not in allowed:
        raise DamagedRunFile(f"{key}={said[key][:80]!r} is none of {', '.join(allowed)}")
    return said[key]


def _whole(said: dict[str, str], key: str, pattern: re.Pattern[str] = _SMALL) -> int | None:
    """The number, or None where the line is absent or empty."""
    return int(_matching(pattern, said, key)) if said.get(key) else None


def _time(said: dict[str, str], key: str) -> datetime:
    found = _TIME.fullmatch(said[key])
    if not found:
        raise DamagedRunFile(f"{key}={said[key][:80]!r} is no time")
    return EPOCH + timedelta(seconds=int(found[1]), microseconds=int((found[2] or "").ljust(6, "0")))


def _stamp(at: datetime) -> str:
    seconds, rest = divmod(at - EPOCH, timedelta(seconds=1))
    return f"{seconds}.{rest.microseconds:06d}"
