"""`keiji task logs` and `keiji system logs`: print, follow, or open in an editor."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from keiji import logs, output
from keiji.commands.looking import find
from keiji.errors import KeijiError, NoSuchTask
from keiji.host import LogLine
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
            find(session, store, name)
    run_id = _whole_id(session, slug, run) if run else None
    if editor:
        path = session.folders.logs / "tasks" / slug / "task.log"
        _edit(session, editor, path, session.host.task_log(slug, None, run_id))
    elif follow:
        _print(session, session.host.follow_task_log(slug, n, run_id))
    else:
        lines = session.host.task_log(slug, n, run_id)
        _print(session, lines)
        if not lines:
            output.note(f"{slug} has said nothing yet")


def system_logs(session: Session, part: str, n: int, follow: bool, editor: str | None) -> None:
    """The last `n` lines of the bus's or the scheduler's log."""
    if editor:
        path = session.folders.logs / "services" / f"{part}.log"
        _edit(session, editor, path, session.host.system_log(part, None))
    elif follow:
        _print(session, session.host.follow_system_log(part, n))
    else:
        _print(session, session.host.system_log(part, n))


def _print(session: Session, lines: Iterable[LogLine]) -> None:
    zone = session.settings.zone
    for line in lines:
        output.say(logs.format_line(line, zone))


def _edit(session: Session, editor: str, path: Path, lines: Iterable[LogLine]) -> None:
    logs.export(path, lines, session.settings.zone)
    if not shutil.which(editor):
        raise EditorMissing(f"{editor} is not on PATH; the log is in {path}")
    subprocess.run([editor, str(path)], check=False)


def _whole_id(session: Session, slug: str, run: str) -> str:
    if len(run) == _FULL_ID:
        return run  # told without the database
    running = session.folders.running(slug)
    if running.exists() and f"\nid={run}" in running.read_text(encoding="utf-8"):
        return running.read_text(encoding="utf-8").split("\nid=", 1)[1].split("\n", 1)[0]
    with session.store() as store:
        found = store.find_run(slug, run)
    if found is None:
        raise NoSuchTask(f"task {slug!r} has no run {run!r}; `keiji task history {slug}` shows its runs")
    return found.id
