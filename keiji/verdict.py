"""How a run ended that could not say so itself.

A run that succeeds, fails or is stopped writes its own end. This module speaks for those that were
killed, that never got to the runner, or that a power cut took: it asks the manager what happened,
ends the run file and holds the task where that is due. Whoever comes first does it (the manager's
failure handler, a directive, a look, housekeeping), under the task's lock; doing it twice is harmless.
"""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

from keiji import files, latches, running
from keiji.errors import HostFailed
from keiji.folders import Folders
from keiji.host import Ending, Host
from keiji.run import Result
from keiji.runfile import DamagedRunFile, read

IsRecorded = Callable[[str], bool]
_HOLDING = (Result.FAILED, Result.TIMED_OUT, Result.KILLED)


def settle(folders: Folders, host: Host, slug: str) -> Result | None:
    """End the run file that a dead run of `slug` left behind; the result, or None if nothing is to do.

    The caller holds the task's lock.
    """
    entry = running.running_entry(folders, slug)
    if entry is None:
        _clear_torn(folders, host, slug)
        return None
    ending = host.ending(slug)
    if ending.is_active and ending.run == entry.id:
        return None
    if running.running_entry(folders, slug) != entry:
        return None  # it spoke for itself between the two looks
    result, status, number, error = _judge(folders, slug, entry.id, ending)
    # A run that the manager does not know any more was cut off with the manager, by a logout, say.
    if result in _HOLDING and ending.run == entry.id and holds(folders, slug, entry.build):
        hold(folders, host, slug, entry.id, result, error)
    host.end_remains(slug)
    running.end_run(folders, slug, entry.id, result, status=status, signal=number, error=error)
    folders.stopping(slug).unlink(missing_ok=True)
    host.log(slug, "ERROR" if result in _HOLDING else "INFO", f"run {entry.id} {result}: {error}")
    return result


def _clear_torn(folders: Folders, host: Host, slug: str) -> None:
    """Put aside a run file without its beginning, as a power cut leaves it: it would block the task."""
    path = folders.running(slug)
    if not _is_torn(path) or host.ending(slug).is_active or not _is_torn(path):
        return
    kept = folders.damaged / f"{slug}-{running.new_id()[:8]}"
    path.rename(kept)
    host.log(slug, "ERROR", f"a run left no more than a damaged file, which is kept as {kept}")


def _is_torn(path: Path) -> bool:
    """Whether the file is there and tells of no run; while it is asked a run may begin, or end."""
    try:
        read(path)
    except FileNotFoundError:
        return False
    except (DamagedRunFile, OSError):
        return True
    return False


def settle_unborn(folders: Folders, host: Host, slug: str, is_recorded: IsRecorded) -> Result | None:
    """Record a run that failed before the runner could make its file (no interpreter, no build, …).

    `is_recorded` tells whether the database has a run of that id. The caller holds the task's lock.
    """
    ending = host.ending(slug)
    latch = latches.latch(folders, slug)
    if ending.is_active or ending.result == "success" or (latch and latch.id == ending.run):
        return None
    run = ending.run or running.new_id()
    if (folders.done / run).exists() or is_recorded(run):
        return None
    was_asked = folders.requested(slug).exists()
    why = "manual" if was_asked else "timer"
    if ending.by_signal and _was_meant(folders, slug, run, ending):
        result, error = Result.STOPPED, "stopped before it began"
    else:
        result = Result.FAILED
        error = f"the run could not be started: {_reason(ending)}; see `{host.shown(slug)}`"
        if latch and latch.error == latches.NOTHING_SAID:  # by the run itself
            error = (
                f"the run failed while the disk was full ({_reason(ending)}): see `keiji task logs {slug}`"
            )
        if holds(folders, slug, ""):
            hold(folders, host, slug, run, result, error)
    folders.requested(slug).unlink(missing_ok=True)
    running.write_unborn(folders, slug, run, result, error, _exit_status(ending), why)
    host.log(slug, "INFO" if result is Result.STOPPED else "ERROR", error)
    return result


def hold(folders: Folders, host: Host, slug: str, run: str, result: Result, error: str) -> None:
    """Latch the task: no further run begins until it is resolved."""
    try:
        latches.write_latch(folders, slug, run, result, error)
    except OSError as problem:
        # The latch can't be written (disk full): without its timer the task can't fire either.
        host.set_enabled(slug, False)
        host.log(slug, "ERROR", f"the latch could not be written ({problem.strerror}): disabled instead")
    release_timer(folders, host, slug)


def release_timer(folders: Folders, host: Host, slug: str) -> None:
    """Stop the timer of a held task, else the journal gets a "skipped" line at each firing."""
    try:
        host.disarm([slug])
    except HostFailed as problem:
        host.log(slug, "ERROR", f"the timer of a held task could not be stopped: {problem}")
        return
    host.log(slug, "ERROR", f"held: no further run until `keiji task resolve {slug}`")


def holds(folders: Folders, slug: str, build: str) -> bool:
    """Whether a failure holds the task, as the build says that was run (any doubt: it does)."""
    folder = folders.builds(slug) / build if build else folders.current(slug)
    text = files.read(folder / "build.json")
    try:
        policy = json.loads(text or "{}")["schedule"]["policy"]
        return bool(policy.get("on_failure", "hold") == "hold")
    except (KeyError, TypeError, ValueError):
        return True


def _judge(
    folders: Folders, slug: str, run: str, ending: Ending
) -> tuple[Result, int | None, int | None, str]:
    """The result, exit status, signal and words for a run that left its file behind."""
    if _was_meant(folders, slug, run, ending):
        return Result.STOPPED, None, ending.status if ending.by_signal else None, "stopped"
    if ending.run != run:
        return Result.KILLED, None, None, "it was gone when the manager came back"
    if ending.result == "timeout":
        return Result.TIMED_OUT, None, ending.status if ending.by_signal else None, "its time was over"
    if ending.by_signal and ending.status == signal.SIGTERM:
        return Result.STOPPED, None, ending.status, "stopped before it could say so"
    if ending.result == "oom-kill":
        return Result.KILLED, None, int(signal.SIGKILL), "killed: out of memory"
    if ending.by_signal:
        return Result.KILLED, None, ending.status, f"killed by {_signal_name(ending.status)}"
    if ending.result == "success":
        return Result.SUCCEEDED, ending.status, None, ""
    return Result.FAILED, ending.status, None, f"it ended with status {ending.status} without a word"


def _was_meant(folders: Folders, slug: str, run: str, ending: Ending) -> bool:
    """Whether the run ended because somebody stopped it.

    Who was about to stop it may have been killed before the manager heard of it: a mark tells. Then a kill
    that is not the manager's own, by which it ends a run that is deaf, is somebody else's.
    """
    intent = (files.read(folders.stopping(slug)) or "").strip()
    if intent not in (run, "*"):
        return False
    is_foreign = ending.run == run and ending.by_signal and ending.status == signal.SIGKILL
    return not (is_foreign and ending.result != "timeout" and folders.stale(slug).exists())


def _reason(ending: Ending) -> str:
    if ending.by_signal:
        return f"killed by {_signal_name(ending.status)}"
    names = {200: "its folder is gone", 203: "its interpreter or build is gone", 217: "no such user"}
    if ending.status in names:
        return names[ending.status]
    return f"{ending.result}, status {ending.status}" if ending.status else ending.result


def _exit_status(ending: Ending) -> int | None:
    return None if ending.by_signal or not ending.status else ending.status


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
