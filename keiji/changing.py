"""A change of one task: whole, or put back, or, when its process is killed, left to whoever comes next."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from keiji import files, marks, stopping
from keiji.directives import Verb
from keiji.errors import KeijiError
from keiji.folders import Folders
from keiji.host import Host
from keiji.lifecycle import Life

# What neither arms nor disarms the task's timer.
_LEAVE_TIMER = (Verb.RUN, Verb.STOP)
# What is done on a full disk, too: the task itself may be filling it.
_WITHOUT_MARK = (Verb.STOP, Verb.DISABLE)


@dataclass(frozen=True)
class Before:
    """What a directive may change of a task, as it was; `since` is when, in epoch seconds."""

    life: Life
    latch: str | None = None
    units: dict[Path, str] = field(default_factory=dict)
    since: float = field(default_factory=time.time)


@contextmanager
def changing(folders: Folders, host: Host, slug: str, verb: Verb, life: Life) -> Iterator[None]:
    """Change the task; when something raises, manager and latch are put back as they were.

    The caller holds the task's lock; `life` is what is true of the task. What can't be put back now is
    brought into agreement later: the mark stays.
    """
    before = _before(folders, host, slug, verb, life)
    with suppress(*((OSError,) if verb in _WITHOUT_MARK else ())):
        marks.mark(folders, slug, verb)
    try:
        yield
    except BaseException:
        with suppress(KeijiError, OSError):
            _put_back(folders, host, slug, verb, before)
            marks.unmark(folders, slug)
        raise
    if verb is not Verb.DELETE:  # of which the rest is still to be cleared away
        with suppress(OSError):
            marks.unmark(folders, slug)


def _before(folders: Folders, host: Host, slug: str, verb: Verb, life: Life) -> Before:
    latch = files.read(folders.held(slug)) if verb is Verb.RESOLVE else None
    texts = {path: files.read(path) for path in host.unit_files(slug)} if verb is Verb.DELETE else {}
    return Before(life, latch, {path: text for path, text in texts.items() if text is not None})


def _put_back(folders: Folders, host: Host, slug: str, verb: Verb, before: Before) -> None:
    if verb is Verb.DELETE:
        try:
            _put_back_units(host, slug, before)
        finally:
            marks.mark(folders, slug)  # one that says "delete" has the deletion finished
        host.reload()
    if before.latch is not None and not folders.held(slug).exists():
        files.write(folders.held(slug), before.latch)
    stopping.tidy(folders, host, slug)
    if verb not in _LEAVE_TIMER:
        _put_back_timer(host, slug, before)


def _put_back_units(host: Host, slug: str, before: Before) -> None:
    for path, text in before.units.items():
        if not path.exists():
            files.write(path, text, mode=0o644)
    host.set_enabled(slug, before.life.is_enabled)


def _put_back_timer(host: Host, slug: str, before: Before) -> None:
    if host.is_enabled(slug) != before.life.is_enabled:
        host.set_enabled(slug, before.life.is_enabled)
    is_active = host.timers([slug])[slug].is_active
    if before.life.is_armed and not is_active:
        host.arm([slug], {slug: before.since})
    if is_active and not before.life.is_armed:
        host.disarm([slug])
