"""Reading log files, whole or from their end, and following them, while others write and rotate."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import select
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import BinaryIO

from keiji.host import LogLine
from keiji.runner_files import KEPT

_LINE = re.compile(
    r"time=(?P<at>\S+) level=(?P<level>[A-Z]+) "
    r'(?:msg="(?P<text>(?:[^"\\]|\\.)*)"(?: run=(?P<run>\w+))?|(?P<event>event=.*))'
)
_ESCAPE = re.compile(r"\\(x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}|.)")
_PLAIN = {"n": "\n", "r": "\r", "t": "\t"}
_START = datetime.fromtimestamp(0, timezone.utc)
_BLOCK = 65536
_STDOUT = 1
_LOOK = 200  # milliseconds between two looks at a log that is followed
_PATIENCE = 2.0  # seconds for the lock


@dataclass(frozen=True)
class Piece:
    """A log file that is open, from `begin` to `end` in bytes."""

    file: BinaryIO
    inode: int
    begin: int
    end: int


@contextmanager
def opened(path: Path) -> Iterator[list[Piece]]:
    """The old files of the log and itself, the oldest first, as they are at one moment."""
    with ExitStack() as stack:
        try:
            folder = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            yield []
            return
        try:
            _share(folder)
            found = []
            for name in [*(f"{path.name}.{n}" for n in range(KEPT, 0, -1)), path.name]:
                try:
                    file = stack.enter_context(open(path.with_name(name), "rb"))
                except FileNotFoundError:
                    continue
                status = os.fstat(file.fileno())
                found.append(Piece(file, status.st_ino, 0, status.st_size))
        finally:
            os.close(folder)
        yield found


def lines_of(pieces: Sequence[Piece]) -> Iterator[LogLine]:
    """All lines, the oldest first."""
    at = _START
    for piece in pieces:
        place = piece.begin
        for row in _rows(piece):
            place += len(row)
            line = parse(row.decode("utf-8", "replace").rstrip("\n"), at, f"{piece.inode}:{place}")
            at = line.at
            yield line


def last_lines(pieces: Sequence[Piece], n: int) -> list[LogLine]:
    """The last `n` lines, without reading what comes before."""
    wanted: list[Piece] = []
    for piece in reversed(pieces):
        begin, count = _last(piece, n)
        wanted.insert(0, replace(piece, begin=begin))
        n -= count
        if n <= 0:
            break
    return list(lines_of(wanted))


def since(pieces: Sequence[Piece], at: datetime) -> list[Piece]:
    """What is no older than that, and a little more, without reading what comes before."""
    wanted: list[Piece] = []
    for piece in reversed(pieces):
        begin, is_older = _since(piece, at)
        wanted.insert(0, replace(piece, begin=begin))
        if is_older:
            break
    return wanted


def position(pieces: Sequence[Piece], cursor: str) -> list[Piece]:
    """What comes after the line that has this cursor; all when it is gone."""
    if not cursor:
        return list(pieces)
    inode, place = map(int, cursor.split(":"))
    for number, piece in enumerate(pieces):
        if piece.inode == inode and place <= piece.end:
            return [replace(piece, begin=place), *pieces[number + 1 :]]
    return list(pieces)


def parse(row: str, before: datetime = _START, cursor: str = "") -> LogLine:
    """A line of a log file; what is none (the piece that a killed writer left) is taken as it is."""
    found = _LINE.fullmatch(row)
    try:
        at = datetime.fromisoformat(found["at"]) if found else before
    except ValueError:
        found, at = None, before
    if not found:
        return LogLine(before, "INFO", row, cursor)
    if found["event"]:
        return LogLine(at, found["level"], found["event"], cursor, is_event=True)
    return LogLine(at, found["level"], _unquoted(found["text"]), cursor, found["run"] or "")


class Tail:
    """The end of a log, wherever the file under its name goes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._kept: BinaryIO | None = None  # open, so that no other file gets its number
        self._inode, self._place = 0, 0
        self._known: set[int] = set()

    def begin(self, pieces: Sequence[Piece]) -> None:
        """What is in `pieces` has been read."""
        self._known = {piece.inode for piece in pieces}
        if self._kept:
            self._kept.close()
            self._kept = None
        if pieces:
            last = pieces[-1]
            self._kept = os.fdopen(os.dup(last.file.fileno()), "rb")
            self._inode, self._place = last.inode, last.end

    def coming(self) -> Iterator[LogLine]:
        """Each line as it comes, until the iterator is closed.

        Raises `BrokenPipeError` once nobody reads our stdout, which else only a line to print would tell.
        """
        poll = select.poll()
        poll.register(_STDOUT, 0)  # its errors are told unasked
        while True:
            yield from self._new()
            if poll.poll(_LOOK):
                raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    def _new(self) -> list[LogLine]:
        try:
            status = os.stat(self.path)
        except FileNotFoundError:
            return []
        if self._kept and (status.st_ino, status.st_size) == (self._inode, self._place):
            return []
        with opened(self.path) as pieces:
            found = list(lines_of(self._unread(pieces)))
            self.begin(pieces)
        return found

    def _unread(self, pieces: Sequence[Piece]) -> list[Piece]:
        numbers = [piece.inode for piece in pieces]
        if self._kept and self._inode in numbers:
            rest = list(pieces[numbers.index(self._inode) :])
            place = self._place if self._place <= rest[0].end else 0  # it was cut short
            return [replace(rest[0], begin=place), *rest[1:]]
        return [piece for piece in pieces if piece.inode not in self._known]


def _rows(piece: Piece) -> Iterator[bytes]:
    """The lines of a piece with their ends; the last may have none."""
    piece.file.seek(piece.begin)
    left, rest = piece.end - piece.begin, b""
    while left > 0:
        block = piece.file.read(min(_BLOCK, left))
        if not block:
            break
        left -= len(block)
        *rows, rest = (rest + block).split(b"\n")
        yield from (row + b"\n" for row in rows)
    if rest:
        yield rest


def _last(piece: Piece, n: int) -> tuple[int, int]:
    """Where the last `n` lines of a piece begin, and how many there are."""
    place, count = piece.end, 0
    blocks: list[bytes] = []
    while place > piece.begin and count <= n:
        step = min(_BLOCK, place - piece.begin)
        place -= step
        piece.file.seek(place)
        blocks.append(piece.file.read(step))
        count += blocks[-1].count(b"\n")
    rows = _split(b"".join(reversed(blocks)))
    chosen = rows[len(rows) - min(n, len(rows)) :]
    return piece.end - sum(map(len, chosen)), len(chosen)


def _since(piece: Piece, at: datetime) -> tuple[int, bool]:
    """Where to begin, and whether the line there is older."""
    place = piece.end
    while place > piece.begin:
        step = min(_BLOCK, place - piece.begin)
        place -= step
        piece.file.seek(place)
        data = piece.file.read(step)
        head = data.find(b"\n") + 1 if place > piece.begin else 0
        row = data[head:].partition(b"\n")[0]
        if parse(row.decode("utf-8", "replace"), at).at < at:
            return place + head, True
    return piece.begin, False


def _split(data: bytes) -> list[bytes]:
    rows = [row + b"\n" for row in data.split(b"\n")]
    rows[-1] = rows[-1][:-1]
    return rows if rows[-1] else rows[:-1]


def _unquoted(text: str) -> str:
    return _ESCAPE.sub(_meant, text) if "\\" in text else text


def _meant(escape: re.Match[str]) -> str:
    code = escape[1]
    return chr(int(code[1:], 16)) if len(code) > 1 else _PLAIN.get(code, code)


def _share(folder: int) -> None:
    """Keep writers off the folder for a moment, if its holder lets go of it in time."""
    give_up = time.monotonic() + _PATIENCE
    while time.monotonic() < give_up:
        try:
            return fcntl.flock(folder, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.001)
        except OSError:  # a file system without locks
            break
    return None
