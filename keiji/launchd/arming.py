"""Which agents wait for a time: loaded, and not told to rest.

To unload an agent ends its run. So a task that shall rest while a run goes on is marked instead, and the
runner drops its firings; what is true of a task beyond a login stands in files, and launchd's override store
follows them.
"""

from __future__ import annotations

import os
import plistlib
import time
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from keiji import executables, files, running, settings
from keiji.errors import HostFailed, KeijiError
from keiji.folders import Folders
from keiji.host import Timer
from keiji.launchd import launchctl, loading, names
from keiji.schedule import Schedule, phase_of

_LEAVING = 0.6  # seconds in which a resident runner has seen that it shall leave, and left


def state(folders: Folders, *parts: str) -> Path:
    """A file in which keiji keeps what launchd forgets."""
    return folders.run.joinpath("launchd", *parts)


def mark(path: Path, wanted: bool) -> None:
    if wanted:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.write(path, "")
    else:
        path.unlink(missing_ok=True)


def installed() -> list[str]:
    """The tasks whose agents lie where launchd looks."""
    try:
        found = os.listdir(names.agent_folder())
    except FileNotFoundError:
        return []
    return names.slugs(name[: -len(".plist")] for name in found if name.endswith(".plist"))


def arm(folders: Folders, slugs: Iterable[str], boot: str, rested: Mapping[str, float]) -> list[str]:
    """Have launchd wait for the tasks' times; those that it does not wait for."""
    jobs, idle = launchctl.loaded(), []
    for slug in slugs:
        if folders.held(slug).exists():
            idle.append(slug)
            continue
        awaited = _still_awaited(folders, slug, jobs, rested)
        _forgive_missed(folders, slug, boot, rested.get(slug, time.time()), awaited)
        if not is_waiting(folders, slug, jobs.get(names.task(slug))):
            mark(state(folders, "waiting", slug), False)
        mark(state(folders, "resting", slug), False)
        _arm(folders, slug, jobs)
        if slug in rested or awaited:
            # What was due meanwhile has had no firing, or one that a plist without RunAtLoad lost.
            _look(slug)
    return idle


def disarm(folders: Folders, slugs: Iterable[str]) -> None:
    """Have none of them begin a run any more; a run in progress goes on."""
    jobs = launchctl.loaded()
    for slug in slugs:
        label = names.task(slug)
        if label not in jobs:
            continue
        mark(state(folders, "resting", slug), True)
        if not is_running(folders, slug):
            loading.unload(label)


def firing(folders: Folders) -> list[str]:
    """The tasks whose agents are loaded and not told to rest."""
    loaded = names.slugs(launchctl.loaded())
    return [slug for slug in loaded if not state(folders, "resting", slug).exists()]


def timers(folders: Folders, slugs: Iterable[str]) -> dict[str, Timer]:
    """launchd tells no next time: it is the schedule's."""
    jobs = launchctl.loaded()
    return {slug: _timer(folders, slug, jobs) for slug in slugs}


def is_running(folders: Folders, slug: str) -> bool:
    """Whether a run goes on, of which launchd knows no more than that the process of its agent is there."""
    entry = running.running_entry(folders, slug)
    return entry is not None and running.is_alive(entry)


def is_waiting(folders: Folders, slug: str, pid: int | None) -> bool:
    """Whether the agent's process only waits: for a second, or for the end of a jitter."""
    return pid is not None and _awaited(folders, slug)[0] == pid


def _awaited(folders: Folders, slug: str) -> tuple[int, float]:
    """The process that waits, or was ended as it did, and the due time that it waits for; zeros if none."""
    try:
        pid, due = (files.read(state(folders, "waiting", slug)) or "").split()
        return int(pid), float(due)
    except ValueError:
        return 0, 0.0


def _still_awaited(
    folders: Folders, slug: str, jobs: Mapping[str, int | None], rested: Mapping[str, float]
) -> float:
    """The time that a process waits for, or 0: only for who is not armed anew, but gets another plist."""
    goes_on = names.task(slug) in jobs and not state(folders, "resting", slug).exists()
    due = _awaited(folders, slug)[1] if goes_on or slug in rested else 0.0
    return due if due > _dealt_with(folders, slug) else 0.0


def _dealt_with(folders: Folders, slug: str) -> float:
    """The due time that the last run was for; 0 where none is known."""
    try:
        return float(files.read(folders.last(slug)) or 0)
    except ValueError:
        return 0.0


def read(path: Path) -> dict[str, Any]:
    """What an installed plist says; nothing where it can't be read."""
    try:
        found = plistlib.loads(path.read_bytes())
    except Exception:
        return {}
    return found if isinstance(found, dict) else {}


def is_resident(slug: str) -> bool:
    return "KeepAlive" in read(names.plist(names.task(slug)))


def strayed(folders: Folders) -> dict[str, float]:
    """The tasks whose plists go by another clock than the machine's → what was due last and is dealt with."""
    from keiji.launchd import calendar

    zone, found = calendar.local_zone(), {}
    for slug in installed():
        if machine_of(read(names.plist(names.task(slug)))) not in ("", zone):
            try:
                found[slug] = float(files.read(folders.last(slug)) or "")
            except ValueError:
                found[slug] = time.time()
    return found


def machine_of(plist: Mapping[str, Any]) -> str:
    """The zone by whose clock the plist was written, or nothing where it goes by none."""
    words = plist.get("ProgramArguments", [])
    return words[words.index("--machine") + 1] if "--machine" in words[:-1] else ""


def coming(schedule: Schedule, slug: str, after: datetime, n: int) -> list[datetime]:
    seconds = getattr(schedule.form, "seconds", 0)
    return schedule.next_times(after, n, phase=phase_of(seconds, slug) if seconds else timedelta(0))


def _arm(folders: Folders, slug: str, jobs: Mapping[str, int | None]) -> None:
    label = names.task(slug)
    if label in jobs and not loading.is_current(folders, label):
        rest = state(folders, "resting", slug)
        mark(rest, True)  # a run that began now would be ended by the unloading
        if not is_running(folders, slug):
            loading.unload(label)
        mark(rest, False)
        if label in launchctl.loaded():
            return  # housekeeping has launchd read it once the run has ended
    elif label in jobs and not _is_leaving(label, jobs[label]):
        _wake(slug)
        return
    loading.switch(label, True)
    loading.load(folders, label)


def _is_leaving(label: str, pid: int | None) -> bool:
    """Whether a loaded agent will be gone in a moment: who unloaded it was cut short."""
    if pid is None:
        return False  # nothing keeps launchd from forgetting it at once
    job = launchctl.find(label)
    return job is None or loading.is_leaving(job)


def _look(slug: str) -> None:
    job = launchctl.find(names.task(slug))
    if job and job.pid is None and not is_resident(slug):
        kickstart(job)


def _wake(slug: str) -> None:
    """Have a resident runner that has left come back: at a latch or a rest that is lifted now."""
    if not is_resident(slug):
        return
    job = launchctl.find(names.task(slug))
    if job and job.pid is not None:  # it may be about to leave
        time.sleep(_LEAVING)
        job = launchctl.find(names.task(slug))
    if job and job.pid is None:
        kickstart(job)


def make_up_for_firing(folders: Folders, slug: str) -> None:
    """Have the runner wait for what is due where launchd's firing for it met a run that was ended.

    That is the next time, of whose minute this may have been the firing, or one whose jitter goes on.
    """
    schedule, due = _schedule(folders, slug), _next(folders, slug)
    is_near = due is not None and (due - datetime.now(timezone.utc)).total_seconds() <= 60 and due.second
    if is_near or (schedule and schedule.policy.jitter):
        _look(slug)


def kickstart(job: launchctl.Job) -> None:
    done = launchctl.call("kickstart", job.target)
    if done.returncode != 0:
        raise HostFailed(f"launchctl kickstart {job.target}: {launchctl.reason(done)}")


def _forgive_missed(folders: Folders, slug: str, boot: str, since: float, awaited: float) -> None:
    """See that nothing fires at once because of the arming.

    What was due since `since` is no such thing, nor is what is `awaited`, unless that is 0.
    """
    plist = read(names.plist(names.task(slug)))
    is_boot = not {"StartCalendarInterval", "KeepAlive"} & set(plist)
    if is_boot and awaited:
        return
    since = min(since, awaited - 1) if awaited else since
    note = folders.last(slug)
    note.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    files.write(note, f"{boot}\n" if is_boot else f"{since:.6f}\n")


def _timer(folders: Folders, slug: str, jobs: Mapping[str, int | None]) -> Timer:
    label = names.task(slug)
    rests = state(folders, "resting", slug).exists() or folders.held(slug).exists()
    if label not in jobs or rests:
        return Timer()
    runs = is_running(folders, slug)
    if not runs and not loading.is_current(folders, label):
        return Timer()  # it goes by a plist that was replaced during a run
    return Timer(True, runs, _next(folders, slug))


def _next(folders: Folders, slug: str) -> datetime | None:
    schedule = _schedule(folders, slug)
    try:
        found = coming(schedule, slug, datetime.now(timezone.utc), 1) if schedule else []
    except (KeijiError, ValueError, OverflowError):
        return None
    return found[0] if found else None


def _schedule(folders: Folders, slug: str) -> Schedule | None:
    """What the task's build goes by, in the zone of its plist."""
    made = executables.record(folders.current(slug)) or {}
    words = read(names.plist(names.task(slug))).get("ProgramArguments", [])
    zone = words[words.index("--zone") + 1] if "--zone" in words[:-1] else ""
    try:
        return Schedule.from_dict(made.get("schedule")).in_zone(zone or settings.load(folders)[0].time_zone)
    except (KeijiError, ValueError):
        return None
