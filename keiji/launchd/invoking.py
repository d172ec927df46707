"""Having an agent begin a run, and end one."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from keiji import files, running
from keiji.errors import HostFailed
from keiji.folders import Folders
from keiji.launchd import arming, launchctl, loading, names, runs

_START_PATIENCE = 15.0  # seconds; launchd starts no agent twice within ten
_STOP_PATIENCE = 22.0  # seconds until a run that is deaf to SIGTERM is killed
_KILL_PATIENCE = 5.0
_TELLING = 1.0  # seconds in which a runner that took a request tells of its run
_ASK_AGAIN = 0.3
_LOOK = 0.05


def start(folders: Folders, slug: str, boot: str) -> str:
    """Have a run begin that was asked for by its file; its id, or nothing when it can't be told."""
    known = {_entry_id(folders, slug), *(path.name for path in _done(folders))}
    failed_before = runs.ending(folders, slug, boot).run
    _start(folders, slug)
    asked = taken = time.monotonic()
    deadline = asked + _START_PATIENCE
    while (now := time.monotonic()) < deadline:
        if run := _begun_since(folders, slug, known):
            return run
        failed = runs.ending(folders, slug, boot)
        if failed.result != "success" and failed.run not in {failed_before, *known}:
            _judge_soon()
            return failed.run
        if folders.requested(slug).exists():
            taken = now
            if now - asked > _ASK_AGAIN:
                asked = now
                _ask_again(slug)
        elif now - taken > _TELLING:
            return ""
        time.sleep(_LOOK)
    raise HostFailed(f"launchd did not start {names.task(slug)} within {_START_PATIENCE:.0f} s")


def _judge_soon() -> None:
    """Have housekeeping record a run that could not be started, and hold its task."""
    with suppress(HostFailed):
        if job := launchctl.find(names.HOUSEKEEPING):
            arming.kickstart(job)


def stop(folders: Folders, slug: str) -> None:
    """End the run in progress, if there is one; raises `HostFailed` when it does not end."""
    entry = running.running_entry(folders, slug)
    for label in (names.task(slug), names.once(slug)):
        job = launchctl.find(label)
        if job is None or job.pid is None:
            continue
        is_loop = label == names.task(slug) and arming.is_resident(slug)
        if is_loop and (entry is None or not running.is_alive(entry)):
            continue  # it waits for its next time
        if arming.is_waiting(folders, slug, job.pid):
            continue  # so does this one
        # A resident runner ends the run by itself, kills it where it must, and goes on.
        kill(job, "SIGUSR1" if is_loop else "SIGTERM")
        if is_over(folders, slug, label, job.pid, is_loop, _STOP_PATIENCE):
            continue
        if is_loop and entry:
            with suppress(OSError):
                os.kill(entry.pid, signal.SIGKILL)
        else:
            kill(job, "SIGKILL")
        if not is_over(folders, slug, label, job.pid, is_loop, _KILL_PATIENCE):
            raise HostFailed(f"the run of {label} (process {job.pid}) does not end")
    if entry and not running.is_alive(entry):
        runs.end_remains(folders, slug)
    if not arming.state(folders, "resting", slug).exists():
        arming.make_up_for_firing(folders, slug)


def _start(folders: Folders, slug: str) -> None:
    """Ask the task's own agent for a run, or one for this run where that can't be asked."""
    from keiji.launchd import plists

    job = launchctl.find(names.task(slug))
    if job and arming.is_resident(slug):
        if job.pid is not None and not arming.state(folders, "resting", slug).exists():
            return None  # it sees the request by itself
    elif job:
        return arming.kickstart(job)
    text = files.read(names.plist(names.task(slug)))
    if text is None:
        raise HostFailed(f"{names.plist(names.task(slug))} is gone: `keiji system update` writes it again")
    label, path = names.once(slug), once_plist(folders, slug)
    loading.unload(label)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    files.write(path, plists.once_of(text, label))
    loading.load(folders, label, path)
    asked = launchctl.find(label)
    if asked is None:
        raise HostFailed(f"launchd has lost the agent {label}")
    return arming.kickstart(asked)


def _entry_id(folders: Folders, slug: str) -> str:
    entry = running.running_entry(folders, slug)
    return entry.id if entry else ""


def _done(folders: Folders) -> Iterator[Path]:
    return folders.done.iterdir() if folders.done.is_dir() else iter(())


def _begun_since(folders: Folders, slug: str, known: set[str]) -> str:
    """The run of the task that was not known before; it may have ended between two looks."""
    if (run := _entry_id(folders, slug)) not in known:
        return run
    for path in _done(folders):
        if path.name not in known and f"\ntask={slug}\n" in (files.read(path) or ""):
            return path.name
    return ""


def _ask_again(slug: str) -> None:
    """launchd drops what is asked for while the process before is ending."""
    job = launchctl.find(names.task(slug))
    if job and job.pid is None:
        arming.kickstart(job)


def kill(job: launchctl.Job, name: str) -> None:
    done = launchctl.call("kill", name, job.target)
    if done.returncode not in {0} | launchctl.GONE:
        raise HostFailed(f"launchctl kill {name} {job.target}: {launchctl.reason(done)}")


def is_over(folders: Folders, slug: str, label: str, pid: int, is_loop: bool, patience: float) -> bool:
    """Whether the run, or where it is no resident one the process, ends within that time."""
    before = _entry_id(folders, slug) if is_loop else ""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if is_loop:
            if _entry_id(folders, slug) != before or not arming.is_running(folders, slug):
                return True
        else:
            job = launchctl.find(label)
            if job is None or job.pid != pid:
                return True
        time.sleep(_LOOK)
    return False


def once_plist(folders: Folders, slug: str) -> Path:
    """The plist of the agent for one run of a task whose own agent can't be asked."""
    return arming.state(folders, "once", f"{names.once(slug)}.plist")
