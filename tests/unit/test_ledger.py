"""Delivering: each run that ended is recorded once, whatever is killed and whoever reads."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
from recording import (
    a_task,
    an_entry,
    begin,
    ended,
    finish,
    leave,
    new_home,
    ready_store,
    settings_of,
    start_python,
    without_database,
)

from keiji import ledger, running
from keiji.errors import StoreUnavailable
from keiji.ledger import deliver
from keiji.run import Result, Trigger
from keiji.runfile import render
from keiji.schedule import Schedule
from keiji.store import open_store

DATABASES = ("sqlite", "postgres")

_DELIVER = """
import sys
from pathlib import Path
from keiji import ledger, running
from keiji.folders import Folders
from recording import *
folders = Folders(Path(sys.argv[1]), Path(sys.argv[2]))
ledger.BATCH = 7
with open_store(settings_of(folders)) as store:
    sys.stdin.readline()
    {fault}
    print(ledger.deliver(folders, store).delivered)
"""
_DIE_AT_UNLINK = """
    import os, pathlib
    left = [int(sys.argv[3])]
    unlink = pathlib.Path.unlink
    def dying(path, *rest):
        left[0] -= 1
        os.kill(os.getpid(), 9) if left[0] < 0 else unlink(path, *rest)
    pathlib.Path.unlink = dying
"""
_DIE_AT_RECORDING = """
    import os
    left = [int(sys.argv[3])]
    record = store.record_runs
    def dying(runs):
        left[0] -= 1
        return os.kill(os.getpid(), 9) if left[0] < 0 else record(runs)
    store.record_runs = dying
"""


@pytest.fixture
def folders(tmp_path: Path, settle):
    return settle(new_home(tmp_path))


@pytest.fixture
def store(folders):
    with ready_store(folders, "ping", "other") as store:
        yield store


def _waiting(folders):
    return sorted(path.name for path in folders.done.iterdir())


def _recorded(store, slug="ping"):
    return sorted(int(run.id, 16) for run in store.runs(slug))


def test_runs_that_ended_are_recorded_and_their_files_are_gone(folders, store):
    begin(folders, an_entry(1))
    finish(folders, an_entry(1), Result.FAILED)
    leave(folders, 2, task="other")

    assert deliver(folders, store) == ledger.Delivery(2, ())
    assert [run.result for run in store.runs("ping")] == [Result.FAILED]
    assert _recorded(store, "other") == [2]
    assert _waiting(folders) == []


def test_a_run_in_progress_is_left_alone(folders, store):
    begin(folders, an_entry(1))

    assert deliver(folders, store).delivered == 0
    assert [entry.task for entry in running.running(folders)] == ["ping"]


def test_a_file_that_is_delivered_again_changes_nothing(folders, store):
    leave(folders, 1)
    deliver(folders, store)
    path = folders.done / an_entry(1).id
    path.write_text(render(ended(an_entry(1), Result.KILLED)))

    assert deliver(folders, store).delivered == 0
    assert [run.result for run in store.runs("ping")] == [Result.SUCCEEDED]
    assert _waiting(folders) == []


def test_nothing_to_deliver_asks_no_database(folders):
    assert deliver(folders, open_store(settings_of(folders))) == ledger.Delivery()


def test_what_is_still_being_written_waits(folders, store):
    (folders.done / ".half").write_text("keiji 1")

    assert deliver(folders, store) == ledger.Delivery()
    assert _waiting(folders) == [".half"]


def test_due_time_and_reason_are_told_at_delivery(folders, store):
    store.save_task(a_task("ping", Schedule().on().every_day().at("15:00").build()))
    leave(folders, 2)  # at 12:02 UTC, 15:02 in Nairobi
    deliver(folders, store, lambda task: "Africa/Nairobi")

    (run,) = store.runs("ping")
    assert (run.trigger, run.host) == (Trigger.CATCH_UP, store.host)
    assert run.due.isoformat() == "2026-11-23T12:00:00+00:00"


def test_the_settings_zone_is_that_of_schedules_that_name_none(folders):
    with open_store(replace(settings_of(folders), time_zone="Africa/Nairobi")) as store:
        store.migrate()
        store.save_task(a_task("ping", Schedule().on().every_day().at("15:01").build()))
        leave(folders, 1)
        deliver(folders, store)

        (run,) = store.runs("ping")
        assert (run.trigger, run.due) == (Trigger.TIMER, run.began)


def test_runs_of_a_deleted_task_are_dropped(folders, store):
    leave(folders, 1)
    store.delete_task("ping")

    assert deliver(folders, store) == ledger.Delivery()
    assert _waiting(folders) == []


def test_runs_of_a_built_task_wait_for_a_new_database_to_learn_of_it(folders, store):
    leave(folders, 1)
    folders.builds("ping").mkdir(parents=True)
    store.delete_task("ping")

    assert deliver(folders, store) == ledger.Delivery()
    store.save_task(a_task("ping"))
    assert deliver(folders, store).delivered == 1


def test_a_task_that_is_deleted_takes_along_what_waits(folders):
    leave(folders, 1, 2)
    leave(folders, 3, task="other")

    ledger.drop_done(folders, "ping")

    assert _waiting(folders) == [an_entry(3).id]


@pytest.mark.parametrize(
    "text",
    ["", "keiji 2\n", "keiji 1\nid=x\n", render(an_entry(9)), render(ended(an_entry(9)))[:-2]],
    ids=["empty", "another form", "torn", "no end", "torn end"],
)
def test_a_damaged_file_is_put_aside_and_named_and_stops_no_other(folders, store, text):
    leave(folders, 1, 2)
    (folders.done / "broken").write_text(text)

    assert deliver(folders, store) == ledger.Delivery(2, (folders.damaged / "broken",))
    assert (folders.damaged / "broken").read_text() == text
    assert deliver(folders, store) == ledger.Delivery()


def test_a_beginning_that_a_power_cut_tore_is_put_aside_when_nobody_can_be_writing_it(folders, store):
    for slug, age in (("old", 3600), ("new", 0)):
        path = folders.running(slug)
        path.touch()
        then = path.stat().st_mtime - age
        os.utime(path, (then, then))

    assert deliver(folders, store).damaged == (folders.damaged / "old",)
    assert not folders.running("old").exists()
    assert folders.running("new").exists()


def test_with_the_database_away_everything_waits(folders, store):
    leave(folders, 1, 2)
    store.close()
    with without_database(folders), pytest.raises(StoreUnavailable):
        deliver(folders, store)
    assert len(_waiting(folders)) == 2

    assert deliver(folders, store).delivered == 2


def test_many_files_are_delivered_in_batches(folders, store, monkeypatch):
    monkeypatch.setattr(ledger, "BATCH", 10)
    sizes = []
    monkeypatch.setattr(store, "record_runs", lambda runs: sizes.append(len(runs)) or 0)
    leave(folders, *range(1, 36))

    deliver(folders, store)
    assert sizes == [10, 10, 10, 5]


@pytest.mark.parametrize("fault", [_DIE_AT_UNLINK, _DIE_AT_RECORDING])
@pytest.mark.parametrize("after", [0, 1, 5, 8])
def test_a_reader_that_is_killed_loses_nothing_and_doubles_nothing(folders, store, fault, after):
    leave(folders, *range(1, 61))
    process = start_python(_DELIVER.format(fault=fault.strip()), folders.workspace, folders.home, after)
    _, errors = process.communicate("go\n", timeout=60)
    assert process.returncode == -signal.SIGKILL, errors

    deliver(folders, store)
    assert _recorded(store) == list(range(1, 61))
    assert _waiting(folders) == []


def test_readers_that_deliver_at_once_record_each_run_once(folders, store):
    leave(folders, *range(1, 301))
    readers = [start_python(_DELIVER.format(fault=""), folders.workspace, folders.home) for _ in range(3)]
    for reader in readers:
        reader.stdin.write("go\n")
        reader.stdin.flush()
    outputs = [reader.communicate(timeout=120) for reader in readers]

    assert sum(int(output) for output, _ in outputs) == 300, outputs
    assert _recorded(store) == list(range(1, 301))
    assert _waiting(folders) == []
