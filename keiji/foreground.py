"""What a task's ``main.py`` does: run the function here, or tell what its schedule means.

It lies in the workspace's environment too: standard library only.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace

from keiji import runner, settings
from keiji.errors import KeijiError
from keiji.folders import Folders
from keiji.schedule import Period, Schedule, phase_of


def main(file: str, unit: str, arguments: list[str]) -> int:
    """Do what ``python main.py ARGUMENTS`` asks, where `file` is that main.py; the exit status."""
    parser = argparse.ArgumentParser(prog="main.py", description="Try this task by hand.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--run", action="store_true", help="run the function here, with .env")
    what.add_argument("--schedule", action="store_true", help="print the schedule, its next times, the unit")
    asked = parser.parse_args(arguments)
    folder = Path(file).resolve().parent
    folders = Folders(folder.parent.parent, Folders.of(os.environ).home)
    sys.path[:] = [str(folder), str(folders.workspace), *(p for p in sys.path if p != str(folder))]
    if asked.run:
        return _run(folder)
    try:
        _tell(folders, folder.name, unit)
    except KeijiError as error:
        print(f"{folder / 'schedule.py'}: {error.message}", file=sys.stderr)
        return error.exit_status
    return 0


def _run(folder: Path) -> int:
    """One try, without a limit: a person is watching."""
    config = SimpleNamespace(
        NAME=folder.name,
        DESCRIPTION="",
        ENV_FILE=str(folder / ".env"),
        TRIES=1,
        DELAY=0.0,
        BACKOFF=1.0,
        TIMEOUT=0.0,
    )
    status: int = runner.rare("tries").run_foreground(str(folder), config)
    return status


def _tell(folders: Folders, slug: str, unit: str) -> None:
    made = importlib.import_module("schedule").schedule()
    if not isinstance(made, Schedule):
        raise KeijiError(f"schedule() must return a Schedule, not {made!r:.80}")
    schedule = made.build().in_zone(settings.load(folders)[0].time_zone)
    print(f"schedule: {schedule}")
    form = schedule.form
    phase = phase_of(form.seconds, slug) if isinstance(form, Period) else timedelta(0)
    for time in schedule.next_times(datetime.now(timezone.utc), 5, phase):
        print(f"next: {time.isoformat(timespec='milliseconds' if time.microsecond else 'seconds')}")
    print(f"unit: {unit}")
