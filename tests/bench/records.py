"""What many records cost: to deliver those that waited, and to look where a history is long."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from place import KEIJI, PYTHON, Place, place, run
from row import Row, compared

from keiji.folders import Folders
from keiji.settings import Settings
from keiji.store import open_store
from keiji.task import Task

WAITING = 100_000
FEW = 1000
TASKS = 1000
RUNS = 1_000_000
TURNS = 3
LOOKS = 7
_FILE = (
    "keiji 1\nid={id}\ntask={task}\nbuild=67f8c61e63f1a361\npid=1234\nboot=5f0d\nwhy=timer\n"
    "began={at}.123456\nended={at}.234567\nresult=succeeded\nstatus=0\nmemory=9437184\nattempts=1\ncpu=0.012345\nerror=\nend\n"
)
# In a process of its own each: its peak of memory is asked for.
_DELIVER = """
import resource, sys, time
from pathlib import Path
from keiji import ledger
from keiji.folders import Folders
from keiji.settings import Settings
from keiji.store import open_store
folders = Folders(Path(sys.argv[1]), Path(sys.argv[2]))
with open_store(Settings(folders)) as store:
    assert ledger.deliver(folders, store).delivered == int(sys.argv[3])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""
_PLAIN = """
import os, sqlite3, sys
folder, rows = sys.argv[1], []
database = sqlite3.connect(sys.argv[2])
with database:
    database.execute(
        "CREATE TABLE run (id UNIQUE, task, build, pid, boot, why, began, ended, result, status, memory, "
        "attempts, cpu, error)"
    )
names = os.listdir(folder)
for name in names:
    with open(f"{folder}/{name}") as file:
        rows.append([line.partition("=")[2] for line in file][1:15])
with database:
    database.executemany("INSERT INTO run VALUES (%s)" % ",".join("?" * 14), rows)
for name in names:
    os.unlink(f"{folder}/{name}")
"""


def deliver() -> Sequence[Row]:
    """A hundred thousand run files, beside reading, inserting and unlinking as many without any safety."""
    ours, floor, peaks, small = [], [], [], []
    for _ in range(TURNS):
        with _home() as folders:
            _leave(folders, FEW)
            small.append(_delivered(folders, FEW)[1])
            _leave(folders, WAITING)
            took, peak = _delivered(folders, WAITING)
            ours.append(took)
            peaks.append(peak)
            _leave(folders, WAITING)
            floor.append(run(PYTHON, "-c", _PLAIN, str(folders.done), str(folders.home / "plain.db")))
    what, against = f"deliver {WAITING} run files; of each", "read, executemany, unlink; of each"
    return [
        compared(what, ours, against, floor, goal=5, parts=WAITING),
        _of_memory(f"peak memory, {WAITING} files", peaks, f"with {FEW}", small),
    ]


def long_history() -> Row:
    """`task list` of a thousand tasks with a million runs, beside the same with a thousand."""
    ours, floor = [], []
    with place() as here:
        _add_tasks(here)
        database = Path(os.environ["KEIJI_HOME"], "db", "keiji.db")
        many, few = (database.with_name(name) for name in ("many.db", "few.db"))
        for path, number in ((few, TASKS), (many, RUNS)):
            shutil.copy(database, path)
            _add_runs(path, number)
        for _ in range(LOOKS):
            for path, took in ((few, floor), (many, ours)):
                os.replace(path, database)
                took.append(run(KEIJI, "task", "list"))
                os.replace(database, path)
    what = f"task list, {TASKS} tasks, {RUNS} runs"
    return compared(what, ours, f"with {TASKS} runs", floor, goal=3)


def _of_memory(what: str, ours: list[int], against: str, floor: list[int]) -> Row:
    pairs = [mine / other for mine, other in zip(ours, floor, strict=True)]
    shown = [f"{max(peaks) / (1 << 20):.1f} MiB" for peaks in (ours, floor)]
    return Row(what, shown[0], against, shown[1], max(pairs), "-", 1.5)


@contextmanager
def _home() -> Iterator[Folders]:
    """Folders with a database that knows one task, without units.

    In memory, where the harness has its home: making and removing so many files keeps a disk busy for long
    after, which the next turn would pay for.
    """
    with tempfile.TemporaryDirectory(prefix="keiji-bench-", dir=Path.home()) as root:
        folders = Folders(Path(root, "keiji"), Path(root, ".keiji"))
        for path in (folders.workspace, *folders.made()):
            path.mkdir(parents=True, exist_ok=True)
        with open_store(Settings(folders)) as store:
            store.migrate()
            store.save_task(_task("measured"))
        yield folders


def _task(slug: str) -> Task:
    from keiji.schedule import Schedule

    return Task(slug, "measured", Schedule().run().every(24).hours().build(), "b1", "", f"id-of-{slug}")


def _leave(folders: Folders, number: int) -> None:
    start = time.time_ns()
    for i in range(start, start + number):
        text = _FILE.format(id=f"{i:032x}", task="measured", at=1_700_000_000 + (i - start) * 60)
        (folders.done / f"{i:032x}").write_text(text)


def _delivered(folders: Folders, number: int) -> tuple[float, int]:
    """Seconds, and the peak of memory in bytes."""
    command = [PYTHON, "-c", _DELIVER, str(folders.workspace), str(folders.home), str(number)]
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    took = time.perf_counter() - began
    if done.returncode:
        sys.exit(done.stderr)
    return took, int(done.stdout)


def _add_tasks(here: Place) -> None:
    """Built, enabled and started, by their units alone: a thousand builds would take a minute."""
    slugs = [f"task-{number:04}" for number in range(TASKS)]
    for slug in slugs:
        here.write_task(slug)
    run(KEIJI, "task", "build", "--all")
    run(KEIJI, "system", "start")


def _add_runs(path: Path, number: int) -> None:
    """The same number for each task, a minute apart."""
    with closing(sqlite3.connect(path)) as database, database:
        database.execute(
            "WITH RECURSIVE count (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM count WHERE n + 1 < ?) "
            "INSERT INTO run (host, id, task, trigger, began, ended, result, error, attempts, build) "
            "SELECT task.host, task.id || '-' || n, task.id, 'timer', at, at + 99, 'succeeded', '', 1, '' "
            "FROM (SELECT n, (1700000000 + n * 60) * 1000000 AS at FROM count), task ORDER BY n",
            (number // TASKS,),
        )
