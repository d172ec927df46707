"""Checks of the run files: what waits to be delivered, what died unseen, what was cut short."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path

from keiji import marks, output, remedies, running
from keiji.doctor.patient import Patient, lasting
from keiji.findings import FOLDERS, UNIT_FOLDER, Check, Finding, error, note, warning
from keiji.folders import Folders
from keiji.runfile import listed, unlisted
from keiji.running import age_of

_UNDELIVERED = 2 * 3600.0  # seconds; the hourly unit delivers
_CUT_SHORT = 120.0  # seconds; longer than the slowest change


def checks(patient: Patient) -> list[Check]:
    found: list[tuple[str, Callable[[Patient], Iterable[Finding]], tuple[str, ...]]] = [
        ("records", _records, ()),
        ("damaged", _damaged, ()),
        ("runs", _runs, ()),
        ("changes", _changes, (UNIT_FOLDER,)),
        ("locks", _locks, ()),
    ]
    return [Check(name, partial(look, patient), (FOLDERS, *needs)) for name, look, needs in found]


def _records(patient: Patient) -> Iterator[Finding]:
    ages = [age_of(path) for path in listed(patient.folders.done)]
    oldest = max(ages, default=0.0)
    if oldest > _UNDELIVERED:
        records = "1 run that ended is" if len(ages) == 1 else f"{len(ages)} runs that ended are"
        said = (
            f"{records} not in the database yet, the oldest for {output.stretch(timedelta(seconds=oldest))}"
        )
        yield error(said, "`keiji task list` delivers them, or says why it can't")


def _damaged(patient: Patient) -> Iterator[Finding]:
    folder = patient.folders.damaged
    found = len([*listed(folder), *unlisted(folder)])
    if found:
        said = f"{found} run file{'s' * (found > 1)} in {folder} can't be read"
        yield warning(said, f"see what they say, then `rm -r {remedies.word(folder)}/*`")


def _runs(patient: Patient) -> Iterator[Finding]:
    boot = patient.host.boot()

    def dead() -> set[str]:
        return {slug for slug in running.slugs(patient.folders) if _is_dead(patient.folders, slug, boot)}

    for slug in sorted(lasting(dead)):
        said = "a run of it died, and nobody has said how; no other begins"
        yield error(said, f"`{patient.host.housekeeping()}` finds out", slug)


def _is_dead(folders: Folders, slug: str, boot: str) -> bool:
    entry = running.running_entry(folders, slug)
    if entry is None:  # it has only just begun, or is torn
        return folders.running(slug).exists()
    return entry.boot != boot or not running.is_alive(entry)


def _changes(patient: Patient) -> Iterator[Finding]:
    folders, mend = patient.folders, f"`{patient.host.housekeeping()}`"
    for slug in marks.marked(folders):
        if _is_left(folders, folders.stale(slug)):
            what = marks.why(folders, slug) or "a build or an update"
            # One that was cut short before it wrote a unit leaves nothing to mend by.
            remedy = mend if slug in patient.installed else f"`keiji task build {slug}`"
            yield warning(f"{what} of it was cut short", remedy, slug)
    for path in listed(folders.run / "requested"):
        if _is_left(folders, path):
            yield warning("a run of it was asked for and never began", mend, path.name)
    for path in listed(folders.run / "stopping"):
        if _is_left(folders, path):
            yield warning("to stop a run of it was cut short", mend, path.name)


def _is_left(folders: Folders, path: Path) -> bool:
    return age_of(path) > _CUT_SHORT and not _is_locked(folders.lock(path.name))


def _locks(patient: Patient) -> Iterator[Finding]:
    for path in sorted(listed(patient.folders.run / "locks")):
        if _is_locked(path):
            # Not every Linux has fuser or lsof; every Mac has.
            look = f"`lsof {remedies.word(path)}` names the process"
            if os.path.exists("/proc/locks"):
                look = f"`grep ':{path.stat().st_ino} ' /proc/locks` has the process in its fifth column"
            remedy = f"if that lasts, {look}"
            yield note("it is being changed by another keiji command", remedy, path.name)


def _is_locked(path: Path) -> bool:
    """Whether somebody holds the lock, which is tried for as short a time as can be."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
    return False
