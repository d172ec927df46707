"""What systemd's `OnFailure=` starts when a task's unit failed: `python -m keiji.commands.verdict SLUG`."""

from __future__ import annotations

import math
import os
import sys

from keiji import latches, platforms, verdict
from keiji.errors import KeijiError
from keiji.folders import Folders
from keiji.host import Host
from keiji.locks import task_lock


def judge(folders: Folders, host: Host, slug: str) -> None:
    """Say how the failed run ended if it could not say so itself, and see that a held task rests."""
    with task_lock(folders, slug, patience=math.inf):  # nobody else will come if this one gives up
        if not host.is_installed(slug):
            return
        if verdict.settle(folders, host, slug):
            return
        if latches.latch(folders, slug):
            verdict.release_timer(folders, host, slug)
            return
        verdict.settle_unborn(folders, host, slug, lambda run: _is_recorded(folders, slug, run))


def _is_recorded(folders: Folders, slug: str, run: str) -> bool:
    from keiji import settings
    from keiji.store import open_store

    try:
        with open_store(settings.load(folders)[0]) as store:
            return store.find_run(slug, run) is not None
    except KeijiError:
        return False


def main(arguments: list[str]) -> int:
    folders = Folders.of(os.environ)
    try:
        judge(folders, platforms.host(folders), arguments[0])
    except (KeijiError, OSError) as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
