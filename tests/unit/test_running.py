"""Runs in progress, and ending those that can't speak for themselves."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta

import pytest
from recording import BOOT, an_entry, begin, ended, finish, new_home

from keiji import runfile, running
from keiji.latches import write_latch
from keiji.run import Result
from keiji.runfile import EPOCH


@pytest.fixture
def folders(tmp_path):
    return new_home(tmp_path)


def _left(folder):
    return sorted(path.name for path in folder.iterdir())


def _end(folders, entry, result=Result.KILLED, **said):
    return running.end_run(folders, entry.task, entry.id, result, **said)


def test_what_runs_is_told_by_task(folders):
    entries = [an_entry(1, "zebra"), an_entry(2, "ping")]
    for entry in entries:
        begin(folders, entry)
    folders.running("torn").write_text("keiji 1\nid=")
    folders.running("empty").touch()

    assert running.running(folders) == entries[::-1]
    assert running.running_entry(folders, "ping") == entries[1]
    assert running.running_entry(folders, "torn") is None
    assert running.running_entry(folders, "nope") is None


def test_a_run_is_alive_as_long_as_its_process(folders):
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    entry = an_entry(pid=process.pid)

    assert running.is_alive(entry)
    process.communicate()
    assert not running.is_alive(entry)
    assert not running.is_alive(an_entry(pid=0))


def test_a_run_is_ended_in_its_name(folders):
    entry = an_entry()
    begin(folders, entry)

    assert _end(folders, entry, signal=9, error="out of\nmemory", ended=1_900_000_000.25)

    at = EPOCH + timedelta(seconds=1_900_000_000.25)
    expected = entry.evolve(ended=at, result=Result.KILLED, signal=9, error="out of\nmemory")
    assert runfile.read(folders.done / entry.id) == expected
    assert _left(folders.running("x").parent) == []


def test_a_run_that_ended_by_itself_is_left_alone(folders):
    entry = an_entry()
    begin(folders, entry)
    finish(folders, entry)

    assert not _end(folders, entry)
    assert runfile.read(folders.done / entry.id) == ended(entry)


def test_a_later_run_of_the_task_is_left_alone(folders):
    begin(folders, an_entry(2))

    assert not _end(folders, an_entry(1))
    assert running.running_entry(folders, "ping") == an_entry(2)
    assert _left(folders.done) == []


def test_an_end_that_the_run_wrote_stands_though_it_died_before_the_rename(folders):
    entry = an_entry()
    begin(folders, entry).write_text(runfile.render(ended(entry, Result.FAILED, error="its own words")))

    assert _end(folders, entry, error="killed")
    assert runfile.read(folders.done / entry.id).error == "its own words"


def test_half_an_end_counts_as_none(folders):
    entry = an_entry()
    begin(folders, entry).write_text(runfile.render(ended(entry, error="half"))[:-8])

    assert _end(folders, entry, error="killed")
    assert runfile.read(folders.done / entry.id).result is Result.KILLED


def test_the_verdict_of_the_runs_own_latch_stands(folders):
    entry = an_entry()
    begin(folders, entry)
    write_latch(folders, "ping", entry.id, Result.TIMED_OUT, "too slow")

    assert _end(folders, entry, error="killed")
    read = runfile.read(folders.done / entry.id)
    assert (read.result, read.error) == (Result.TIMED_OUT, "too slow")


def test_the_latch_of_another_run_says_nothing_of_this_one(folders):
    entry = an_entry()
    begin(folders, entry)
    write_latch(folders, "ping", "another", Result.TIMED_OUT, "too slow")

    _end(folders, entry, error="killed")
    assert runfile.read(folders.done / entry.id).result is Result.KILLED


def test_a_run_never_ends_before_it_began(folders):
    entry = an_entry()
    begin(folders, entry)

    _end(folders, entry, ended=0)
    assert runfile.read(folders.done / entry.id).ended == entry.began


def test_the_next_run_that_begins_between_the_look_and_the_unlink_keeps_its_file(folders, monkeypatch):
    old, new = an_entry(1), an_entry(2)
    begin(folders, old)
    write = running.files.write

    def write_and_let_the_next_begin(path, text):
        write(path, text)
        finish(folders, old, Result.STOPPED)
        begin(folders, new)

    monkeypatch.setattr(running.files, "write", write_and_let_the_next_begin)

    _end(folders, old)
    assert running.running_entry(folders, "ping") == new
    assert _left(folders.running("x").parent) == ["ping"]
    assert runfile.read(folders.done / old.id).result is Result.STOPPED


def test_who_dies_between_the_record_and_the_unlink_is_made_up_for_and_the_first_word_stands(
    folders, monkeypatch
):
    entry = an_entry()
    begin(folders, entry)
    with monkeypatch.context() as patch:
        patch.setattr(running, "_clear_running", lambda *_: None)
        _end(folders, entry, Result.STOPPED)
    assert running.running_entry(folders, "ping") == entry

    assert _end(folders, entry, Result.KILLED)
    assert _left(folders.running("x").parent) == []
    assert runfile.read(folders.done / entry.id).result is Result.STOPPED


def test_a_record_that_a_power_cut_emptied_is_written_again(folders):
    entry = an_entry()
    begin(folders, entry)
    (folders.done / entry.id).touch()

    assert _end(folders, entry)
    assert runfile.read(folders.done / entry.id).result is Result.KILLED


def test_a_run_that_never_began_is_written_whole(folders):
    folders.builds("ping").mkdir(parents=True)
    folders.current("ping").symlink_to("a1b2")
    run = running.new_id()
    running.write_unborn(folders, "ping", run, Result.FAILED, "no interpreter", 203, why="manual")

    read = runfile.read(folders.done / run)
    assert (read.id, read.task, read.build, read.why, read.attempts) == (run, "ping", "a1b2", "manual", 0)
    assert (read.result, read.status, read.error) == (Result.FAILED, 203, "no interpreter")
    assert read.began == read.ended


def test_ids_differ():
    assert len({running.new_id() for _ in range(100)}) == 100


def test_runs_of_another_boot_are_recorded_as_killed_and_not_held(folders):
    cut, alive = an_entry(1, "cut", boot="before"), an_entry(2, "alive")
    heard = (cut.began + timedelta(minutes=5)).timestamp()
    os.utime(begin(folders, cut), (heard, heard))
    begin(folders, alive)

    assert running.clear_leftovers(folders, BOOT) == [cut]
    assert running.clear_leftovers(folders, BOOT) == []
    read = runfile.read(folders.done / cut.id)
    assert (read.result, read.error) == (Result.KILLED, "cut off by power-off")
    assert abs(read.ended.timestamp() - heard) < 1
    assert running.running(folders) == [alive]
    assert not folders.held("cut").exists()
