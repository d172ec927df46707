"""Checks of what lies on the disk: the folders, their room, the settings, the database."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from keiji import diskspace, remedies, settings, workspace
from keiji.doctor.patient import PATIENCE, Patient
from keiji.errors import InvalidSettings, StoreTooNew, StoreUnavailable
from keiji.findings import FOLDERS, Check, Finding, error, note, warning
from keiji.folders import Folders
from keiji.store import open_store

SETTINGS = "settings"
DATABASE = "database"
_INIT = "`keiji init`"


def checks(patient: Patient) -> list[Check]:
    """In the order in which one fault may be the next one's cause."""
    found: list[tuple[str, Callable[[Patient], Iterable[Finding]], tuple[str, ...]]] = [
        (FOLDERS, _folders, ()),
        ("subfolders", _subfolders, (FOLDERS,)),
        ("space", _space, (FOLDERS,)),
        ("secrets", _secrets, (FOLDERS,)),
        (SETTINGS, _settings, (FOLDERS,)),
        ("zone", _zone, (SETTINGS,)),
        (DATABASE, _database, (FOLDERS, SETTINGS)),
    ]
    return [Check(name, partial(look, patient), needs) for name, look, needs in found]


# -- folders ---------------------------------------------------------------------------------


def _folders(patient: Patient) -> Iterator[Finding]:
    folders = patient.folders
    # Without these two no other command does anything.
    if not folders.run.is_dir() or not folders.workspace.is_dir():
        yield error(f"there is no keiji in {folders.home} and {folders.workspace}", _INIT)
        return
    for path in _needed(folders):
        yield from _folder(path)
    if not folders.project.exists():
        yield warning(f"{folders.project} is missing", _INIT)
    mode = folders.home.stat().st_mode & 0o777
    if mode & 0o077:
        said = f"{folders.home} may be read by others (mode {mode:04o})"
        yield warning(said, f"`chmod 700 {remedies.word(folders.home)}`")


def _subfolders(patient: Patient) -> Iterator[Finding]:
    """The others: without one of them most can be looked at all the same."""
    folders = patient.folders
    for path in (*folders.made(), folders.workspace, folders.tasks):
        if path not in _needed(folders):
            yield from _folder(path)


def _needed(folders: Folders) -> tuple[Path, ...]:
    return (folders.home, folders.run, folders.workspace)


def _folder(path: Path) -> Iterator[Finding]:
    if not path.is_dir():
        yield error(f"{path} is {'no folder' if path.exists() else 'missing'}", _INIT)
    elif path.stat().st_uid != os.getuid():
        said = f"{path} is not yours: it belongs to uid {path.stat().st_uid}"
        yield error(said, f"`sudo chown -R {os.getuid()}:{os.getgid()} {remedies.word(path)}`")
    elif not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        yield error(f"{path} cannot be written", f"`chmod u+rwx {remedies.word(path)}`")


def _space(patient: Patient) -> Iterable[Finding]:
    return diskspace.shortages([patient.folders.home, patient.folders.workspace])


def _secrets(patient: Patient) -> Iterator[Finding]:
    for slug in workspace.task_slugs(patient.folders):
        path = patient.folders.tasks / slug / ".env"
        if path.exists() and path.stat().st_mode & 0o077:
            yield warning("its .env may be read by others", f"`chmod 600 {remedies.word(path)}`", slug)


# -- settings --------------------------------------------------------------------------------


def _settings(patient: Patient) -> Iterator[Finding]:
    path = patient.folders.settings
    try:
        _, warnings = patient.read
    except InvalidSettings as problem:
        yield error(problem.message, f"correct {path}")
        return
    if not path.exists():
        yield warning(f"{path} is missing: the defaults count", _INIT)
    for line in warnings:
        yield warning(line, f"correct {path}")


def _zone(patient: Patient) -> Iterator[Finding]:
    machine, own = settings.machine_zone({}), patient.settings.time_zone
    if machine != own:
        remedy = f"if that is not meant: TIME_ZONE={machine} in settings.conf, then `keiji system update`"
        yield note(f"the machine's zone is {machine}, and schedules go by TIME_ZONE={own}", remedy)


# -- the database ----------------------------------------------------------------------------


def _database(patient: Patient) -> Iterator[Finding]:
    path = patient.folders.database
    if patient.settings.uses_sqlite and not path.exists():
        yield error(f"the database {path} is missing", "`keiji init`, then `keiji task build --all`")
        return
    try:
        _ = patient.tasks
        with open_store(patient.settings, PATIENCE, may_migrate=False) as store:
            store.check_writable()
    except (StoreUnavailable, StoreTooNew) as problem:
        said, _, remedy = problem.message.rpartition(": ")
        yield error(said or problem.message, remedy)
