"""Checks of the tasks: their builds, their units, their timers, and what the manager says of their runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from keiji import arming, executables, latches
from keiji.doctor.patient import PATIENCE, Patient, lasting
from keiji.doctor.places import DATABASE, SETTINGS
from keiji.errors import InvalidSchedule, TaskNotBuilt, UnsupportedHere
from keiji.findings import FOLDERS, MANAGER, OWN_UNITS, UNIT_FOLDER, Check, Finding, error, note
from keiji.folders import Folders
from keiji.store import open_store

_UPDATE = "`keiji system update`"


def checks(patient: Patient) -> list[Check]:
    found: list[tuple[str, Callable[[Patient], Iterable[Finding]], tuple[str, ...]]] = [
        ("builds", _builds, (FOLDERS, UNIT_FOLDER)),
        ("units", _units, (SETTINGS, DATABASE, UNIT_FOLDER)),
        ("loaded", _loaded, (FOLDERS, SETTINGS, DATABASE, MANAGER, OWN_UNITS, "units")),
        ("timers", _timers, (FOLDERS, MANAGER, UNIT_FOLDER)),
        ("failures", _failures, (MANAGER, DATABASE, UNIT_FOLDER)),
        ("tasks", _tasks, (FOLDERS, UNIT_FOLDER)),
    ]
    return [Check(name, partial(look, patient), needs) for name, look, needs in found]


# -- builds ----------------------------------------------------------------------------------


def _builds(patient: Patient) -> Iterator[Finding]:
    faults = {slug: _fault(patient.folders, slug) for slug in patient.installed}
    is_general = len(faults) > 1 and all(faults.values())  # the system's Python was replaced, say
    for slug, fault in faults.items():
        if fault:
            yield error(fault, f"`keiji task build {'--all' if is_general else slug}`", slug)


def _fault(folders: Folders, slug: str) -> str:
    """What keeps the task's build from being run, or nothing."""
    build = executables.current(folders, slug)
    if build is None:
        return "it has no current build"
    folder = folders.builds(slug) / build
    if not folder.is_dir():
        return f"its current build {build} is gone"
    made = executables.record(folder)
    command = made.get("command") if made else None
    if made is None or not isinstance(command, list) or not command:
        return f"what its build {build} was made of can't be read"
    if not os.access(command[0], os.X_OK):
        return f"its interpreter {command[0]} is gone"
    environment = folders.venvs / str(made.get("environment"))
    if not environment.is_dir():
        return f"its environment {environment} is gone"
    return "" if executables.is_whole(folder, made) else f"files of its build {build} are gone or cut short"


# -- units -----------------------------------------------------------------------------------


def _units(patient: Patient) -> Iterator[Finding]:
    stored = {task.slug: task for task in patient.tasks}
    for slug, task in stored.items():
        located = task.evolve(schedule=task.schedule.in_zone(patient.settings.time_zone))
        try:
            command = executables.command(patient.folders, slug)
            yield from patient.host.unit_findings(located, command)
        except TaskNotBuilt:
            if slug not in patient.installed:  # else `builds` tells
                yield error("its units and its build are gone", f"`keiji task build {slug}`", slug)
        except (InvalidSchedule, UnsupportedHere) as problem:
            remedy = f"change its schedule.py, then `keiji task build {slug}`"
            yield error(f"its units can't be made any more: {problem.message}", remedy, slug)
    for slug in patient.installed:
        if slug not in stored:
            yield error("it is installed, and not in the database", f"`keiji task build {slug}`", slug)


def _loaded(patient: Patient) -> list[Finding]:
    host, zone = patient.host, patient.settings.time_zone
    schedules = {task.slug: task.schedule.in_zone(zone) for task in patient.tasks}
    due = {slug: it for slug, it in schedules.items() if arming.is_due(patient.folders, host, slug)}

    def found() -> set[Finding]:
        return {*host.loaded_findings(due)}

    return sorted(lasting(found), key=lambda finding: finding.message)


def _timers(patient: Patient) -> Iterator[Finding]:
    host = patient.host
    if not host.is_started():
        return

    def idle() -> set[str]:
        return {*host.idle([s for s in patient.installed if arming.is_due(patient.folders, host, s)])}

    found = sorted(lasting(idle))
    timers = host.timers(found)
    for slug in found:
        # One that is active and waits for nothing would not be started by a start.
        remedy = f"`keiji task restart {slug}`" if timers[slug].is_active else "`keiji system start`"
        yield error("its timer waits for no time, so it does not run", remedy, slug)


# -- what the manager says -------------------------------------------------------------------


def _failures(patient: Patient) -> Iterator[Finding]:
    def unrecorded() -> set[str]:
        return {*_unrecorded(patient)}

    for slug in sorted(lasting(unrecorded)):
        said = "its unit failed, and keiji knows of no such run"
        yield error(said, f"`{patient.host.housekeeping()}` records it and holds the task", slug)


def _unrecorded(patient: Patient) -> Iterator[str]:
    failed = [slug for slug in patient.host.failed() if slug in patient.installed]
    if not failed:
        return
    with open_store(patient.settings, PATIENCE, may_migrate=False) as store:
        for slug, ending in patient.host.endings_of(failed).items():
            latch = latches.latch(patient.folders, slug)
            is_known = (
                ending.is_active
                or ending.result == "success"
                or (latch is not None and latch.id == ending.run)
                or patient.folders.running(slug).exists()
                or (patient.folders.done / ending.run).is_file()
                or store.run_of_id(ending.run) is not None
            )
            if not is_known:
                yield slug


def _tasks(patient: Patient) -> Iterator[Finding]:
    for slug in patient.installed:
        held = latches.latch(patient.folders, slug)
        if held:
            last = held.error.strip().splitlines()[-1:]
            said = f"it is held since {held.at:%Y-%m-%d %H:%M} UTC{''.join(f': {line}' for line in last)}"
            yield note(said, f"see `keiji task logs {slug}`, then `keiji task resolve {slug}`", slug)
        if not patient.host.is_enabled(slug):
            yield note("it is disabled", f"`keiji task enable {slug}`", slug)
