"""`keiji system uninstall`: leave no trace."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from keiji import output, traces
from keiji.errors import BusUnavailable, KeijiError, UsageError
from keiji.host import Host
from keiji.session import Session


def uninstall(session: Session, keep_workspace: bool, yes: bool) -> None:
    """Stop all, remove the units and the folders; asks first, and without a terminal needs `yes`."""
    folders, host = session.folders, session.host
    doomed = [folders.home] if keep_workspace else [folders.home, folders.workspace]
    if not yes and not _agrees(", ".join(map(str, doomed))):
        raise UsageError("nothing was removed")
    _end_bus(session)
    host.stop_system()
    slugs = host.installed()
    host.disarm(slugs)
    _remove_units(host, slugs)
    host.remove_system()
    for slug in slugs:
        host.forget(slug)
    _leave_database(session)
    made = traces.noted(folders)  # it lies in one of the doomed
    left = [path for folder in doomed for path in _remove(folder)]
    traces.clear(made)
    tasks = "1 task" if len(slugs) == 1 else f"{len(slugs)} tasks"
    output.say(f"{tasks} and keiji's units are gone; the command itself stays where it is installed")
    if left:
        files = "1 file" if len(left) == 1 else f"{len(left)} files"
        raise KeijiError(f"{files} could not be removed, the first is {left[0]}")


def _leave_database(session: Session) -> None:
    """Take this machine's rows out of a database that doesn't go with the folders."""
    if session.problem:
        output.note("settings.conf does not tell the database: one on a server keeps this machine's rows")
        return
    if session.settings.uses_sqlite:
        return
    try:
        with session.store() as store:
            store.forget_host()
            output.say(
                f"removed what {store.where} held of this machine; its tables stay, others may use them"
            )
    except KeijiError as problem:
        output.note(f"{problem.message}; what it holds of this machine's tasks and runs stays there")


def _end_bus(session: Session) -> None:
    """No directive is to run meanwhile, nor to begin."""
    try:
        session.host.stop_bus(stay=True)
    except BusUnavailable as problem:  # somebody else's unit is in the place of keiji's
        output.note(problem.message)


def _remove_units(host: Host, slugs: list[str]) -> None:
    """Runs end while their units are there: a unit without its file has no patience with one that is deaf."""
    for slug, ending in host.endings_of(slugs).items():
        host.set_enabled(slug, False)
        if ending.is_active:
            host.stop_run(slug)
        for path in host.unit_files(slug):
            path.unlink(missing_ok=True)


def _remove(folder: Path) -> list[str]:
    """Remove a folder; what could not be."""
    left: list[str] = []
    shutil.rmtree(folder, onerror=lambda function, path, problem: left.append(path))
    if not left:
        output.say(f"removed {folder}")
    return left


def _agrees(what: str) -> bool:
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask on: --yes removes everything without asking")
    return input(f"This stops every task and removes {what}. Go on? [y/N] ").strip().lower() in ("y", "yes")
