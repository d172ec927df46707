"""`keiji system uninstall`: leave no trace."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from keiji import output
from keiji.errors import UsageError
from keiji.session import Session


def uninstall(session: Session, keep_workspace: bool, yes: bool) -> None:
    """Stop all, remove the units and the folders; asks first, and without a terminal needs `yes`."""
    folders, host = session.folders, session.host
    doomed = [folders.home] if keep_workspace else [folders.home, folders.workspace]
    for folder in doomed:
        _check_ours(folder)
    if not yes and not _agrees(", ".join(map(str, doomed))):
        raise UsageError("nothing was removed")
    host.stop_system()
    slugs = host.installed()
    host.disarm(slugs)
    for slug in slugs:
        host.set_enabled(slug, False)
        if host.ending(slug).is_active:
            host.stop_run(slug)
        for path in host.unit_files(slug):
            path.unlink(missing_ok=True)
    host.remove_system()
    for slug in slugs:
        host.forget(slug)
    for folder in doomed:
        shutil.rmtree(folder, ignore_errors=True)
        output.say(f"removed {folder}")
    output.say(
        f"{len(slugs)} tasks and keiji's units are gone; the command itself stays where it is installed"
    )


def _check_ours(folder: Path) -> None:
    """Refuse to remove a folder that holds more than keiji: a home, or one above it."""
    home = Path.home()
    if folder == home or folder in home.parents:
        raise UsageError(f"{folder} is no folder of keiji's alone: remove its keiji files by hand")


def _agrees(what: str) -> bool:
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask on: --yes removes everything without asking")
    return input(f"This stops every task and removes {what}. Go on? [y/N] ").strip().lower() in ("y", "yes")
