"""`keiji task run`: one run now, its output as it comes, its status as ours."""

from __future__ import annotations

import sys
import time
from datetime import datetime, timezone
from typing import NamedTuple

from keiji import output
from keiji.delivering import settle_dead
from keiji.directives import Directive, Verb
from keiji.errors import StoreUnavailable
from keiji.host import Span
from keiji.run import Result, Run
from keiji.runfile import DamagedRunFile, read
from keiji.session import Session
from keiji.task import slug_of

_LOOK = 0.15  # seconds between two looks at the journal
_QUIET = 3  # looks in a row without a new line, after which an ended run has no more to say
_PATIENCE = 10.0  # seconds until a run that is over must be recorded
_STATUS = {Result.SUCCEEDED: 0, Result.TIMED_OUT: 124, Result.STOPPED: 143}


class Ended(NamedTuple):
    """How a run ended."""

    id: str
    result: Result
    status: int | None
    signal: int | None


def run_now(session: Session, name: str) -> int:
    """Run the task once, print what it prints, and give the exit status of its run."""
    slug = slug_of(name)
    asked = datetime.now(timezone.utc)
    try:
        reply = session.send(Directive(Verb.RUN, name))
    except KeyboardInterrupt:  # the bus has it by now, or never will
        output.note(f"the run may begin all the same; `keiji task stop {slug}` ends it")
        raise
    span = Span(reply.run, asked)
    try:
        cursor = _stream(session, slug, span)
    except KeyboardInterrupt:
        output.note(f"the run goes on; `keiji task stop {slug}` ends it")
        raise
    ended = _ended(session, slug, reply.run)
    _print_new(session, slug, span, cursor)  # to be recorded may have taken the run longer than to end
    if ended is None:
        output.error(f"how run {reply.run} of {slug} ended is not known; see `keiji task logs {slug}`")
        return 1
    if ended.result is not Result.SUCCEEDED:
        output.note(f"{slug}: run {ended.id} {ended.result}")
    return _status(ended)


def _status(ended: Ended) -> int:
    """The run's exit status, or what a shell would make of its end."""
    if ended.result in _STATUS:
        return _STATUS[ended.result]
    return 128 + ended.signal if ended.signal else ended.status or 1


def _stream(session: Session, slug: str, span: Span) -> str:
    """Print the run's lines until it is over and the journal has nothing more to say; where that is.

    Looks are counted, not seconds: on a busy machine one look takes long, and the journal is late.
    """
    cursor, quiet = "", 0
    while quiet < _QUIET:
        in_progress = _is_in_progress(session, slug, span.run)
        was, cursor = cursor, _print_new(session, slug, span, cursor)
        quiet = 0 if in_progress or cursor != was else quiet + 1
        if quiet < _QUIET:
            time.sleep(_LOOK)
    return cursor


def _print_new(session: Session, slug: str, span: Span, cursor: str) -> str:
    """Print the run's lines after `cursor`; the cursor of the last one."""
    for line in session.host.run_log_after(slug, span, cursor):
        print(line.message, file=sys.stderr if line.level == "ERROR" else sys.stdout, flush=True)
        cursor = line.cursor
    return cursor


def _is_in_progress(session: Session, slug: str, run: str) -> bool:
    ending = session.host.ending(slug)
    return ending.is_active and ending.run == run


def _ended(session: Session, slug: str, run: str) -> Ended | None:
    """How the run ended: from its file, which needs no database, or from the record if it is delivered.

    A run that was killed is judged by the manager's failure handler, which may still be at it.
    """
    give_up = time.monotonic() + _PATIENCE
    while True:
        try:
            entry = read(session.folders.done / run)
            if entry.result:
                return Ended(run, entry.result, entry.status, entry.signal)
        except (DamagedRunFile, OSError):
            pass
        found = _recorded(session, slug, run)
        if found:
            return Ended(run, found.result, found.exit_status, found.signal)
        if time.monotonic() > give_up:
            return None
        time.sleep(_LOOK)
        settle_dead(session.folders, session.host, thorough=True)


def _recorded(session: Session, slug: str, run: str) -> Run | None:
    try:
        with session.store() as store:
            return store.find_run(slug, run)
    except StoreUnavailable:
        return None
