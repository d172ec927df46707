"""What stays resident when nothing happens."""

from __future__ import annotations

import time

from place import KEIJI, cgroup, place, run
from row import Row

TASKS = 10
SETTLE = 2.0


def processes() -> Row:
    """The processes that the started system keeps, beside the manager and the session bus."""
    before = _alive()
    with place() as ours:
        for number in range(TASKS):
            ours.write_task(f"idle-{number}")
        run(KEIJI, "task", "build", "--all")
        run(KEIJI, "system", "start")
        time.sleep(SETTLE)
        stay = _alive() - before
    return Row(
        "processes when idle", f"{len(stay)} for {TASKS} tasks", "-", "-", len(stay), "-", 0, "processes"
    )


def _alive() -> set[int]:
    """The processes of the manager's units, the bus daemon's apart."""
    return {
        int(pid)
        for file in cgroup().rglob("cgroup.procs")
        if "dbus.service" not in file.parts
        for pid in file.read_text().split()
    }
