"""`keiji task logs` and `keiji system logs`: print, follow, or open in an editor."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from keiji import logs, output
from keiji.delivering import deliver
from keiji.errors import KeijiError, NoSuchRun, StoreUnavailable
from keiji.host import LogLine, Span
from keiji.records import find
from keiji.running import running_entry
from keiji.session import Session
from keiji.task import slug_of

EDITORS = ("code", "vim", "nano")
_FULL_ID = 32


class EditorMissing(KeijiError):
    """The editor is not on PATH."""


def task_logs(session: Session, name: str, n: int, follow: bool, run: str | None, editor: str | None) -> None:
    """The last `n` lines of a task's log, or of one of its runs (an id, or the beginning of one)."""
    slug = slug_of(name)
    if not session.host.is_installed(slug):
        with session.store() as store:
            find(session.host, store, name)
    span = None if run is None else _span(session, slug, run)
    zone = session.settings.zone
    if editor:
        path = session.folders.task_log(slug)
        if span or session.host.log_path(slug) != str(path) or not path.exists():
            path = logs.export(path.with_name("export.log"), session.host.task_log(slug, None, span), zone)
        _edit(editor, path)
    elif follow:
        _print(session, session.host.follow_task_log(slug, n, span))
    else:
        lines = session.host.task_log(slug, n, span)
        _print(session, lines)
        if not lines:
            output.note(f"{slug} has said nothing yet")


def system_logs(session: Session, part: str, n: int, follow: bool, editor: str | None) -> None:
    """The last `n` lines of the bus's or the scheduler's log."""
    if editor:
        path = session.folders.logs / "services" / f"{part}-export.log"
        _edit(editor, logs.export(path, session.host.system_log(part, None), session.settings.zone))
    elif follow:
        _print(session, session.host.follow_system_log(part, n))
    else:
        _print(session, session.host.system_log(part, n))


def _print(session: Session, lines: Iterable[LogLine]) -> None:
    zone = session.settings.zone
    for line in lines:
        output.say(logs.format_line(line, zone))


def _edit(editor: str, path: Path) -> None:
    if not shutil.which(editor):
        raise EditorMissing(f"{editor} is not on PATH; the log is in {path}")
    subprocess.run([editor, str(path)], check=False)


def _span(session: Session, slug: str, run: str) -> Span:
    """The run that `run` (an id, or the beginning of one) names, with its times."""
    if not run:
        raise NoSuchRun(f"--run needs a run's id; `keiji task history {slug}` shows them")
    entry = running_entry(session.folders, slug)
    if entry and entry.id.startswith(run):
        return Span(entry.id, entry.began)
    try:
        with session.store() as store:
            deliver(session.host, store)
            found = store.find_run(slug, run)
    except StoreUnavailable:
        if len(run) != _FULL_ID:
            raise
        return Span(run)  # lines that name their run can be found without the database
    if found is None:
        raise NoSuchRun(f"task {slug!r} has no run {run!r}; `keiji task history {slug}` shows its runs")
    return Span(found.id, found.began, found.ended)
