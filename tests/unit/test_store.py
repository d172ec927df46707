"""The store: tasks and runs go in and come out as values."""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recording import (
    NOON,
    a_run,
    a_task,
    add_step,
    locked,
    new_home,
    query,
    ready_store,
    settings_of,
    start_python,
)

from keiji.errors import NoSuchRun, NoSuchTask, StoreTooNew, StoreUnavailable
from keiji.folders import Folders
from keiji.run import Result, Trigger
from keiji.schedule import Schedule
from keiji.store import Store, open_store

DATABASES = ("sqlite", "postgres")
ANY_TEXT = st.text(st.characters(blacklist_categories=[])) | st.text("\\n\n\r\0 '\"")


@pytest.fixture
def folders(tmp_path: Path, settle) -> Folders:
    return settle(new_home(tmp_path))


@pytest.fixture
def store(folders):
    with ready_store(folders, "ping") as store:
        yield store


@pytest.fixture(scope="module")
def shared(tmp_path_factory, settle):
    with ready_store(settle(new_home(tmp_path_factory.mktemp("shared"))), "ping") as store:
        yield store


def _impatient(folders: Folders) -> Store:
    return open_store(settings_of(folders), patience=0.05)


def _unavailable(store: Store) -> str:
    with pytest.raises(StoreUnavailable) as caught:
        store.tasks()
    assert "\n" not in caught.value.message
    return caught.value.message


# -- tasks ------------------------------------------------------------------------------------------


def test_a_task_comes_back_as_it_was_saved(store):
    schedule = (
        Schedule().on().weekdays().at("09:00").in_timezone("Asia/Tokyo").retry(tries=3, delay=5).build()
    )
    saved = store.save_task(a_task("My Backup", schedule))

    assert saved == a_task("My Backup", schedule, id=saved.id, host=store.host)
    assert store.find_task("my-backup") == store.get_task("my-backup") == saved


def test_saving_a_task_again_changes_what_was_built_and_keeps_who_it_is(store):
    first = store.get_task("ping")
    store.record_runs([a_run()])

    again = store.save_task(a_task("Ping", description="new", build="c3d4", task_id="another"))

    executed = first.evolve(name="Ping", description="new", build="c3d4", last_execution=a_run().began)
    assert again == executed


def test_tasks_are_listed_by_name(store):
    for name in ("zebra", "Alpha", "my backup"):
        store.save_task(a_task(name))

    assert [task.name for task in store.tasks()] == ["Alpha", "my backup", "ping", "zebra"]


def test_a_task_that_is_not_there_is_none_or_an_error_as_asked(store):
    assert store.find_task("nope") is None
    with pytest.raises(NoSuchTask, match="'nope'"):
        store.get_task("nope")


def test_a_deleted_task_takes_its_runs_with_it_and_leaves_the_others(store):
    store.save_task(a_task("other"))
    store.record_runs([a_run(1), a_run(2, "other")])

    assert store.delete_task("ping")
    assert not store.delete_task("ping")
    store.save_task(a_task("ping"))
    assert store.runs("ping") == []
    assert store.record_runs([a_run(1), a_run(2, "other")]) == 1
    assert [run.task for run in store.runs("other")] == ["other"]


def test_a_new_task_never_gets_a_deleted_ones_id(store):
    old = store.get_task("ping").id
    store.delete_task("ping")

    assert store.save_task(a_task("ping")).id > old


def test_tasks_survive_a_change_of_the_machines_name(store, folders, monkeypatch):
    old = store.host
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "renamed", "", "", "")))

    with open_store(settings_of(folders)) as later:
        assert later.host == old
        assert [task.slug for task in later.tasks()] == ["ping"]


def test_the_record_is_mended_only_where_it_differs(store, folders):
    assert store.mend("ping", True, "it broke")
    with locked(folders), _impatient(folders) as other:
        assert not other.mend("ping", True, "it broke")
    assert store.mend("ping", True, None)
    assert store.mend_all({"ping": (False, ""), "unknown": (True, None)}) == 1
    assert store.mend_all({"ping": (False, "")}) == 0


# -- runs -------------------------------------------------------------------------------------------


def test_a_run_comes_back_as_it_was_recorded(store):
    run = a_run(
        trigger=Trigger.CATCH_UP,
        due=NOON,
        result=Result.KILLED,
        exit_status=1,
        signal=9,
        error="out of\nmemory",
        attempts=3,
        cpu_seconds=0.25,
        peak_memory_bytes=2**40,
        build="a1b2",
    )
    store.record_runs([run])

    assert store.runs("ping") == [a_run(**{**vars(run), "host": store.host})]


@given(
    times=st.lists(st.datetimes(datetime(1970, 1, 1), datetime(5000, 1, 1)), min_size=2, max_size=2),
    hours=st.integers(-12, 14),
)
@settings(deadline=None, max_examples=30)
def test_times_are_exact_to_the_microsecond_in_any_zone(shared, times, hours):
    began, ended = (time.replace(tzinfo=timezone(timedelta(hours=hours))) for time in times)
    run = a_run(id=os.urandom(16).hex(), began=began, ended=ended)
    shared.record_runs([run])

    found = shared.find_run("ping", run.id)
    assert (found.began, found.ended) == (began, ended)


@given(ANY_TEXT)
@settings(deadline=None, max_examples=30)
def test_any_text_can_be_recorded(shared, text):
    run = a_run(id=os.urandom(16).hex(), error=text)
    shared.record_runs([run])
    shared.save_task(a_task(description=text))

    plain = text.isprintable() and text.isascii()
    assert not plain or shared.find_run("ping", run.id).error == text


def test_a_run_is_recorded_once_and_the_first_word_stands(store):
    assert store.record_runs([a_run(1), a_run(1), a_run(2)]) == 2
    assert store.record_runs([a_run(1, result=Result.FAILED), a_run(3)]) == 1

    assert [run.result for run in store.runs("ping")] == [Result.SUCCEEDED] * 3


def test_more_runs_than_a_statement_takes_are_recorded_at_once(store):
    runs = [a_run(number) for number in range(1, 1203)]

    assert store.record_runs(runs) == 1202
    assert store.record_runs(runs) == 0


def test_runs_of_an_unknown_task_are_passed_over(store):
    assert store.record_runs([a_run(1, "gone"), a_run(2)]) == 1


def test_the_last_execution_is_the_latest_beginning_of_a_run_that_was_not_skipped(store):
    store.record_runs([a_run(5), a_run(3), a_run(9, result=Result.SKIPPED)])
    store.record_runs([a_run(4)])

    assert store.get_task("ping").last_execution == a_run(5).began


def test_runs_come_newest_first_up_to_the_limit(store):
    store.record_runs([a_run(number) for number in (2, 3, 1)])

    assert [run.id for run in store.runs("ping", 2)] == [a_run(3).id, a_run(2).id]
    assert len(store.runs("ping")) == 3
    assert store.runs("unknown") == []


def test_the_last_run_of_each_task_is_the_newest_that_was_not_skipped(store):
    store.save_task(a_task("other"))
    store.save_task(a_task("never"))
    store.record_runs([a_run(1), a_run(3), a_run(4, result=Result.SKIPPED), a_run(2, "other")])

    assert {slug: run.id for slug, run in store.last_runs().items()} == {
        "ping": a_run(3).id,
        "other": a_run(2).id,
    }


def test_a_run_is_found_by_the_beginning_of_its_id(store):
    store.save_task(a_task("other"))
    store.record_runs([a_run(1, id="abc1"), a_run(2, id="abd2"), a_run(3, "other", id="abc9")])

    assert store.find_run("ping", "abc").id == "abc1"
    assert store.find_run("ping", "abd2").id == "abd2"
    assert store.find_run("ping", "abc9") is None
    assert store.find_run("ping", "%") is None
    with pytest.raises(NoSuchRun, match="give more of the id"):
        store.find_run("ping", "ab")


def test_a_run_is_found_by_its_whole_id_whatever_its_task(store):
    store.save_task(a_task("other"))
    store.record_runs([a_run(1, id="abc1"), a_run(2, "other", id="abc2")])

    assert store.run_of_id("abc2").task == "other"
    assert store.run_of_id("abc") is None


# -- pruning ----------------------------------------------------------------------------------------


def _ages(store: Store, slug: str = "ping") -> list[int]:
    now = datetime.now(timezone.utc)
    return [round((now - run.began) / timedelta(days=1)) for run in store.runs(slug)]


def _record_ages(store: Store, *days: int, task: str = "ping") -> None:
    now = datetime.now(timezone.utc)
    store.record_runs([a_run(began=now - timedelta(days=age), id=f"{task}{age}", task=task) for age in days])


@pytest.mark.parametrize(
    ("keep_days", "keep_count", "left"),
    [
        (10, 100, [1, 5]),
        (100, 2, [1, 5]),
        (100, 100, [1, 5, 20, 50]),
        (1, 100, [1]),
        (100, 1, [1]),
        (0, 0, [1, 5, 20, 50]),
        (0, 2, [1, 5]),
        (10, 0, [1, 5]),
    ],
)
def test_pruning_keeps_the_newest_so_many_and_of_them_the_younger(store, keep_days, keep_count, left):
    _record_ages(store, 1, 5, 20, 50)

    assert store.prune(keep_days, keep_count) == 4 - len(left)
    assert _ages(store) == left
    assert store.prune(keep_days, keep_count) == 0


def test_pruning_leaves_each_tasks_newest_run_however_old(store):
    store.save_task(a_task("yearly"))
    _record_ages(store, 300, 700, task="yearly")
    _record_ages(store, 1, 2)

    store.prune(30, 100)

    assert _ages(store, "yearly") == [300]
    assert _ages(store) == [1, 2]


def test_pruning_leaves_the_newest_run_though_many_firings_were_skipped_since(store):
    _record_ages(store, 30, 20)
    now = datetime.now(timezone.utc)
    skipped = [
        a_run(began=now - timedelta(days=age), id=f"skipped{age}", result=Result.SKIPPED) for age in range(5)
    ]
    store.record_runs(skipped)

    store.prune(0, 3)

    assert [run.id for run in store.runs("ping")] == ["skipped0", "skipped1", "skipped2", "ping20"]
    assert store.last_runs()["ping"].id == "ping20"
    assert store.prune(0, 3) == 0


# -- what goes wrong --------------------------------------------------------------------------------


def test_a_database_of_a_newer_keiji_is_refused(store, folders):
    query(folders, "INSERT INTO migration VALUES (99, 0)")

    with pytest.raises(StoreTooNew, match="upgrade keiji"):
        _impatient(folders).tasks()


@pytest.mark.parametrize("look", [Store.tasks, lambda store: store.save_task(a_task())])
def test_a_database_of_an_older_keiji_is_brought_up_to_date_when_it_is_first_asked(
    store, folders, look, monkeypatch
):
    store.close()
    add_step(monkeypatch)

    look(store)

    assert query(folders, "SELECT count(*) FROM extra") == [(0,)]


def test_who_may_only_look_leaves_an_older_database_as_it_is(store, folders, monkeypatch):
    add_step(monkeypatch)

    with open_store(settings_of(folders), may_migrate=False) as other:
        assert "`keiji system update`" in _unavailable(other)


def test_a_locked_database_is_an_error_of_one_line_after_a_while(store, folders):
    with locked(folders), _impatient(folders) as other:
        for write in (lambda: other.save_task(a_task("new")), lambda: other.record_runs([a_run()])):
            with pytest.raises(StoreUnavailable, match="being written by another program") as caught:
                write()
            assert "\n" not in caught.value.message

    assert store.record_runs([a_run()]) == 1


def test_reading_waits_for_no_writer(store, folders):
    with locked(folders), _impatient(folders) as other:
        assert [task.slug for task in other.tasks()] == ["ping"]


def test_two_processes_write_at_once_and_lose_nothing(store, folders):
    code = """
import sys
from pathlib import Path
from keiji.folders import Folders
from recording import *
with open_store(settings_of(Folders(Path(sys.argv[1]), Path(sys.argv[2])))) as store:
    for number in range(int(sys.argv[3]), int(sys.argv[3]) + 40):
        assert store.record_runs([a_run(number)]) == 1
        store.mend("ping", number % 2 == 0, None)
"""
    writers = [start_python(code, folders.workspace, folders.home, start) for start in (1, 101)]
    for writer in writers:
        assert writer.wait(timeout=120) == 0, writer.communicate()[1]

    assert len(store.runs("ping")) == 80


# -- files and imports ------------------------------------------------------------------------------


def test_a_store_can_be_used_again_after_it_was_closed(store):
    store.close()

    assert store.find_task("ping")
    assert store.record_runs([a_run()]) == 1
