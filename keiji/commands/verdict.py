"""What systemd's `OnFailure=` starts when units of tasks failed: `python -m keiji.commands.verdict`.

One process judges all of them. A unit for each task would be a third more for the manager to load, and a
power cut's worth of failures would start as many interpreters.
"""

from __future__ import annotations

import os
import sys
import time

from keiji import latches, logs, platforms, verdict
from keiji.errors import KeijiError, TaskBusy
from keiji.folders import Folders
from keiji.host import Host
from keiji.locks import task_lock

_LOOK = 0.1  # seconds between two looks at a task that another command is changing


def judge_all(folders: Folders, host: Host) -> list[str]:
    """Judge every task whose unit failed, also those that fail meanwhile; what went wrong, a line each.

    One that another command is changing waits until it lets go: nobody else will come. It does not keep
    the others waiting.
    """
    judged: set[str] = set()
    problems = []
    while True:
        waiting = False
        for slug in _unjudged(folders, host, judged):
            try:
                judge(folders, host, slug)
            except TaskBusy:
                waiting = True
                continue
            except (KeijiError, OSError) as problem:
                problems.append(f"{slug}: {problem}")
            judged.add(slug)
        if not waiting:
            return problems
        time.sleep(_LOOK)


def judge(folders: Folders, host: Host, slug: str) -> None:
    """Say how the failed run ended if it could not say so itself, and see that a held task rests.

    Raises `TaskBusy` at once where another command is changing the task.
    """
    with task_lock(folders, slug, patience=0):
        if not host.is_installed(slug):
            return
        if verdict.settle(folders, host, slug):
            return
        if latches.latch(folders, slug):
            verdict.release_timer(folders, host, slug)
            return
        verdict.settle_unborn(folders, host, slug, lambda run: _is_recorded(folders, slug, run))


def _unjudged(folders: Folders, host: Host, judged: set[str]) -> list[str]:
    """The failed tasks but for those that rest already: they stay failed until they are resolved."""
    failed = [slug for slug in host.failed() if slug not in judged]
    timers = host.timers(failed)
    return [
        slug
        for slug in failed
        if timers[slug].is_active or not folders.held(slug).exists() or folders.running(slug).exists()
    ]


def _is_recorded(folders: Folders, slug: str, run: str) -> bool:
    from keiji import settings
    from keiji.store import open_store

    try:
        with open_store(settings.load(folders)[0]) as store:
            return store.find_run(slug, run) is not None
    except KeijiError:
        return False


def main() -> int:
    folders = Folders.of(os.environ)
    logs.keep_output(folders, "housekeeping")
    try:
        problems = judge_all(folders, platforms.host(folders))
    except (KeijiError, OSError) as problem:
        problems = [str(problem)]
    for line in problems:
        print(line, file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
