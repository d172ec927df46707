"""What a task's ``main.py`` does: run the function here, or tell what its schedule means.

It lies in the workspace's environment too: standard library only.
"""

from __future__ import annotations

import argparse
import os
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace

from keiji import runner, settings
from keiji.errors import KeijiError
from keiji.evaluate import schedule_of
from keiji.folders import Folders
from keiji.inspection import Mistake, Places, code_of
from keiji.schedule import Period, phase_of


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
        _tell(folders, folder, unit)
    except (Mistake, KeijiError) as error:
        print(error, file=sys.stderr)
        return 1
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


def _tell(folders: Folders, folder: Path, unit: str) -> None:
    own = (str(folder), str(folders.workspace))
    places = Places(*own, *own)
    made = schedule_of(places, code_of(str(folder / "schedule.py"), places))
    schedule = made.in_zone(settings.load(folders)[0].time_zone)
    print(f"schedule: {schedule}")
    form = schedule.form
    phase = phase_of(form.seconds, folder.name) if isinstance(form, Period) else timedelta(0)
    for time in schedule.next_times(datetime.now(timezone.utc), 5, phase):
        print(f"next: {time.isoformat(timespec='milliseconds' if time.microsecond else 'seconds')}")
    print(f"unit: {unit}")
