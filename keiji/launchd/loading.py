"""Having launchd load and unload agents, with its races.

`bootout` returns before the process has gone; until then `bootstrap` answers 5, which is also what it says
of anything else. A plist that launchd has taken is kept, and put back when it refuses the next one.
"""

from __future__ import annotations

import os
import plistlib
import stat
import time
from pathlib import Path

from keiji import files
from keiji.errors import HostFailed
from keiji.folders import Folders
from keiji.launchd import launchctl, names, plists

_IT_MAY_GO = {0, launchctl.UNDER_WAY, launchctl.CATCH_ALL} | launchctl.GONE | launchctl.NO_DOMAIN
_LOOK = 0.2  # seconds
_AGAIN = 0.5  # seconds
_SILENCE = 1.0  # seconds until what was loaded without a word must be known
_MARGIN = 10.0  # seconds beyond an agent's own patience


def taken(folders: Folders, label: str) -> Path:
    """The plist of that agent as launchd last took it."""
    return folders.run / "launchd" / "taken" / f"{label}.plist"


def is_current(folders: Folders, label: str) -> bool:
    """Whether launchd, if it has loaded the agent, goes by the plist that lies there now."""
    return files.read(taken(folders, label)) == files.read(names.plist(label))


def load(folders: Folders, label: str, path: Path | None = None) -> None:
    """Have launchd know the agent of that plist; raises `HostFailed` with the plist before it loaded again.

    One that is loaded already is left as it is.
    """
    path = path or names.plist(label)
    text = files.read(path)
    if text is None:
        raise HostFailed(f"{path} is gone: `keiji system update` writes it again")
    try:
        _bootstrap(label, path)
    except HostFailed:
        _put_back(folders, label, path, text)
        raise
    kept = taken(folders, label)
    kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    files.write(kept, text)


def unload(label: str, patience: float = plists.PATIENCE) -> bool:
    """Have launchd forget the agent, in whichever domain, and end its process; whether it was loaded.

    Raises `HostFailed` when it is there still after its patience.
    """
    if os.environ.get("XPC_SERVICE_NAME") == label:
        raise HostFailed(f"{label} can't unload itself: launchd would end it in the middle of that")
    was_loaded = False
    deadline = time.monotonic() + patience + _MARGIN
    while job := launchctl.find(label):
        was_loaded = True
        done = launchctl.call("bootout", job.target)
        if done.returncode not in _IT_MAY_GO:
            raise HostFailed(f"launchctl bootout {job.target}: {launchctl.reason(done)}")
        if not _is_gone(label, min(deadline, time.monotonic() + 1)) and time.monotonic() > deadline:
            raise HostFailed(f"{label} is still loaded {patience + _MARGIN:.0f} s after it was told to go")
    return was_loaded


def switch(label: str, on: bool) -> None:
    """Say whether launchd may load the agent, now and at each login; all domains of a person share that."""
    verb = "enable" if on else "disable"
    done = launchctl.call(verb, launchctl.target(launchctl.domain(), label))
    if done.returncode != 0:
        raise HostFailed(f"launchctl {verb} {label}: {launchctl.reason(done)}")


def _bootstrap(label: str, path: Path) -> None:
    domain = launchctl.domain()
    deadline = time.monotonic() + plists.PATIENCE + _MARGIN
    while True:
        done = launchctl.call("bootstrap", domain, str(path))
        if done.returncode == 0 and _is_known(label):
            return
        if done.returncode == 0:
            raise HostFailed(_refused(label, "it took it and knows it not"))
        if done.returncode not in {launchctl.CATCH_ALL, *launchctl.LOADED}:
            raise HostFailed(_refused(label, launchctl.reason(done)))
        if (job := launchctl.find(label)) and not is_leaving(job):
            return
        why = _why_never(label, path, domain)
        if why or time.monotonic() > deadline:
            raise HostFailed(_refused(label, why or launchctl.reason(done)))
        time.sleep(_AGAIN)


def _put_back(folders: Folders, label: str, path: Path, refused: str) -> None:
    """What launchd took before instead of what it has refused."""
    before = files.read(taken(folders, label))
    if before is None or before == refused:
        return
    files.write(path, before, mode=0o644)
    try:
        _bootstrap(label, path)
    except HostFailed:
        pass  # the first refusal is what its owner must hear of


def _why_never(label: str, path: Path, domain: str) -> str:
    """What no other try would mend, or nothing: all of it hides behind the same status."""
    if launchctl.disabled(domain).get(label):
        return launchctl.REASONS[119]
    status = path.stat()
    if status.st_uid != launchctl.uid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return launchctl.REASONS[122]
    try:
        found = plistlib.loads(path.read_bytes())
    except Exception:
        found = None
    if not isinstance(found, dict):
        return "its plist can't be read"
    kind = "Aqua" if domain.startswith("gui/") else "Background"
    return "" if kind in found.get("LimitLoadToSessionType", ["Aqua"]) else launchctl.REASONS[134]


def _refused(label: str, why: str) -> str:
    return (
        f"launchd does not take the agent {label}: {why}; "
        "look at System Settings > General > Login Items, and at "
        "`log show --last 5m --predicate 'process == \"launchd\"'`"
    )


def _is_known(label: str) -> bool:
    """Whether launchd has it indeed: what is not allowed in Login Items it passes over in silence."""
    deadline = time.monotonic() + _SILENCE
    while launchctl.find(label) is None:
        if time.monotonic() > deadline:
            return False
        time.sleep(_LOOK)
    return True


def is_leaving(job: launchctl.Job) -> bool:
    """Whether launchd was told to forget the agent, and waits for its process to end."""
    return job.state in ("SIGTERMed", "SIGKILLed", "exited")


def _is_gone(label: str, until: float) -> bool:
    while launchctl.find(label):
        if time.monotonic() > until:
            return False
        time.sleep(_LOOK)
    return True
