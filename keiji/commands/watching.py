"""`keiji task list --watch`: the table, drawn anew whenever the bus tells of something.

Nothing is looked at in between: it sleeps until it is told.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

from keiji import output
from keiji.commands.listing import entries, listed
from keiji.errors import KeijiError
from keiji.session import Session

_PACE = 0.1  # seconds from one drawing to the next; what comes meanwhile is drawn together
_AGAIN = 1.0  # seconds after which a look that failed is tried again
_HOME, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"


def watch(session: Session, as_json: bool) -> None:
    """Show the table of all tasks, live; with `as_json` a line for each task that is another than before.

    Ends by an error or by Ctrl-C only.
    """
    if sys.stdout is None:  # closed from the beginning: nobody reads it
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
    watcher = session.watcher()  # first, so that what changes after the first look is told
    draw = _drawing(session, as_json)
    failure = ""
    with _told_of_resizing(watcher.wake), _left_clean():
        draw()
        while True:
            time.sleep(_PACE)
            watcher.wait()
            try:
                draw()
                failure = ""
            except KeijiError as problem:  # a busy manager, a locked database
                if problem.message != failure:
                    output.error(problem.message)
                failure = problem.message
                time.sleep(_AGAIN)
                watcher.wake()  # nobody tells when a look would do again


def frame(lines: Sequence[str], columns: int, rows: int) -> str:
    """What to write to a terminal of that size to have it show these lines and nothing else.

    The lines that find no room are counted in the last one.
    """
    room = max(rows - 1, 2)  # the cursor rests below
    if len(lines) > room:
        lines = [*lines[: room - 1], f"... {len(lines) - room + 1} more"]
    # Cleared before it is written: after a line as wide as the terminal its last character would go.
    return _HOME + "".join(f"{_CLEAR_LINE}{line[:columns]}\n" for line in lines) + _CLEAR_BELOW


def _drawing(session: Session, as_json: bool) -> Callable[[], None]:
    if as_json:
        return _lines_of(session)
    return _screen_of(session) if _is_screen() else _tables_of(session)


def _screen_of(session: Session) -> Callable[[], None]:
    _, rows = _size()
    _write("\n" * rows)  # what the terminal shows scrolls away and is not lost

    def draw() -> None:
        lines = _table(session)
        _write(frame(lines, *_size()))

    return draw


def _tables_of(session: Session) -> Callable[[], None]:
    gap = ""

    def draw() -> None:
        nonlocal gap
        _write(gap + "".join(f"{line}\n" for line in _table(session)))
        gap = "\n"

    return draw


def _lines_of(session: Session) -> Callable[[], None]:
    told: dict[str, dict[str, Any]] = {}

    def draw() -> None:
        now = {entry["slug"]: entry for entry in entries(session)}
        news = [entry for slug, entry in now.items() if told.get(slug) != entry]
        news += [{**told[slug], "state": "deleted"} for slug in told if slug not in now]
        told.clear()
        told.update(now)
        _write("".join(f"{json.dumps(entry, ensure_ascii=False)}\n" for entry in news))

    return draw


def _table(session: Session) -> list[str]:
    now = datetime.now(timezone.utc)
    listing = listed(session, now)
    at = now.astimezone(session.settings.zone).strftime("%Y-%m-%d %H:%M:%S %Z")
    return [f"As of {at}", *listing.lines, *(f"note: {note}" for note in listing.notes)]


def _is_screen() -> bool:
    """Whether stdout is a terminal on which the cursor can be moved."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def _size() -> tuple[int, int]:
    """Columns and rows of the terminal; some do not know theirs."""
    size = os.get_terminal_size(sys.stdout.fileno())
    return size.columns or 80, size.lines or 24


def _write(text: str) -> None:
    sys.stdout.write(text)
    output.flush()


@contextmanager
def _told_of_resizing(wake: Callable[[], None]) -> Iterator[None]:
    before = signal.signal(signal.SIGWINCH, lambda number, frame: wake())
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, before)


@contextmanager
def _left_clean() -> Iterator[None]:
    """Ctrl-C may come in the middle of a drawing: the prompt stands below it, on a line of its own."""
    try:
        yield
    except KeyboardInterrupt:
        if _is_screen():
            _write(f"\n{_CLEAR_BELOW}")
        raise
