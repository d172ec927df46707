"""How runs under launchd ended that could not say so themselves.

The runner leaves with 0 whenever its run is recorded. So any other end of an agent's process is of a start
that never came so far: the interpreter is gone, its folder, or what it needs to begin.
"""

from __future__ import annotations

import hashlib
import signal

from keiji import files, running
from keiji.folders import Folders
from keiji.host import Ending
from keiji.launchd import arming, launchctl, loading, names

_NO_SPAWN = 78  # EX_CONFIG


def ending(folders: Folders, slug: str, boot: str) -> Ending:
    """From the run file: launchd knows no runs, and a run that could speak needs no judge."""
    entry = running.running_entry(folders, slug)
    if entry is None:
        return _without_file(folders, slug, boot)
    if running.is_alive(entry) and entry.boot == boot:
        return Ending(is_active=True, run=entry.id)
    if entry.boot != boot:
        return Ending(run="", result="signal")
    job = launchctl.find(names.task(slug))
    number = job.signal if job and job.signal else int(signal.SIGKILL)
    return Ending(run=entry.id, result="signal", by_signal=True, status=number)


def suspects(folders: Folders) -> list[str]:
    """The tasks of whose last start something may be to be told: it takes one question each to know."""
    idle = [label for label, pid in launchctl.loaded().items() if pid is None]
    once = [label.replace(names.ONCE, names.TASKS) for label in idle if label.startswith(names.ONCE)]
    return sorted({*running.slugs(folders), *names.slugs([*idle, *once])})


def end_remains(folders: Folders, slug: str) -> None:
    """End the processes that a dead run has left; launchd ends only those of the runner's own group."""
    import keiji.runner  # noqa: F401 - the next finds it among the modules
    from keiji import runner_launchd

    runner_launchd.end_remains(files.read(folders.running(slug)) or "")


def _without_file(folders: Folders, slug: str, boot: str) -> Ending:
    is_loop = arming.is_resident(slug)
    jobs = [job for job in map(launchctl.find, (names.task(slug), names.once(slug))) if job]
    # A process that is there may begin a run, but a resident one is there anyway, and another may wait.
    there = [job.pid for job in jobs if job.pid is not None]
    if there:
        waits = any(arming.is_waiting(folders, slug, pid) for pid in there)
        return Ending(is_active=not is_loop and not waits)
    found = (_unborn(folders, job, boot) for job in jobs)
    return next((ending for ending in found if ending), Ending())


def _unborn(folders: Folders, job: launchctl.Job, boot: str) -> Ending | None:
    """How a start ended that came to no run, if the last one of the agent did."""
    if job.signal == signal.SIGTERM or not (job.signal or job.exit_code):
        return None
    try:
        since = loading.taken(folders, job.label).stat().st_mtime_ns
    except OSError:
        since = 0
    start = f"{boot} {job.label} {since} {job.starts}"  # launchd counts them from when it is loaded
    run = hashlib.md5(start.encode(), usedforsecurity=False).hexdigest()
    if job.signal:
        return Ending(run=run, result="signal", by_signal=True, status=job.signal)
    if job.exit_code == _NO_SPAWN:
        return Ending(run=run, result="its interpreter or the folder it begins in is gone")
    return Ending(run=run, result="exit-code", status=job.exit_code or 0)
