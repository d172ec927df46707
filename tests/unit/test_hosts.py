"""Machines that share a PostgreSQL: each has its own rows, and no two of them mix."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from recording import a_run, a_task, new_home, query, settings_of, start_python

from keiji.errors import StoreUnavailable
from keiji.folders import Folders
from keiji.run import Result
from keiji.store import Store, hosts, open_store
from keiji.task import Task

At = Callable[..., Store]


@pytest.fixture
def at(tmp_path: Path, postgres, monkeypatch) -> At:
    """`at(name, machine, folder)`: the store as a machine of that name has it, with that machine's id."""
    url = postgres.new_schema(f"h{uuid.uuid4().hex}")

    def visit(name: str, machine: str = "", folder: str = "") -> Store:
        monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", name, "", "", "")))
        monkeypatch.setattr(hosts, "_machine", lambda: machine or f"machine of {folder or name}")
        base = tmp_path / (folder or name)
        folders = Folders(base / "workspace", base / "home") if base.exists() else new_home(base)
        folders.settings.write_text(f"DB_URL={url}\n")
        return open_store(settings_of(folders))

    return visit


def _task(name: str = "ping", **changes: object) -> Task:
    return a_task(name, task_id=uuid.uuid4().hex, **changes)


def _refusal(store: Store) -> str:
    said = []
    for work in (store.tasks, lambda: store.save_task(_task()), store.migrate):
        with pytest.raises(StoreUnavailable) as caught:
            work()
        assert "\n" not in caught.value.message
        said.append(caught.value.message)
    assert len(set(said)) == 1
    return said[0]


def test_each_machine_sees_and_changes_its_own_rows_alone(at):
    for name in ("alpha", "beta"):
        with at(name) as store:
            store.save_task(_task("ping", build=f"build of {name}"))
            assert store.record_runs([a_run(1, result=Result.FAILED), a_run(2)]) == 2
            store.mend("ping", name == "beta", None)
    with at("alpha") as store:
        assert [(task.host, task.build) for task in store.tasks()] == [("alpha", "build of alpha")]
        assert {run.host for run in store.runs("ping")} == {"alpha"}
        store.prune(0, 1)
        assert len(store.runs("ping")) == 1
        store.delete_task("ping")
        assert store.tasks() == []
        assert store.runs("ping") == []
    with at("beta") as store:
        assert len(store.runs("ping")) == 2
        assert store.find_run("ping", a_run(1).id).host == "beta"


def test_everyones_tasks_can_be_seen_with_what_the_records_say(at):
    for name in ("beta", "alpha"):
        with at(name) as store:
            store.save_task(_task("ping"))
            store.record_runs([a_run(3), a_run(4, result=Result.SKIPPED)])
            store.mend("ping", name == "beta", "it broke" if name == "beta" else None)

    with at("alpha") as store:
        seen = [(task.host, flags, run.id, run.host) for task, flags, run in store.everyones()]

    assert seen == [
        ("alpha", (False, False, ""), a_run(3).id, "alpha"),
        ("beta", (True, True, "it broke"), a_run(3).id, "beta"),
    ]


def test_a_second_machine_of_the_same_name_is_refused_and_told_what_to_do(at):
    with at("alpha") as store:
        store.save_task(_task())

    message = _refusal(at("alpha", folder="another"))

    assert "another keiji keeps its tasks" in message
    assert "search_path" in message
    with at("alpha") as store:
        assert len(store.tasks()) == 1


def test_a_machine_that_is_gone_can_be_succeeded_as_the_message_says(at):
    with at("alpha") as store:
        store.save_task(_task())
    successor = at("alpha", folder="another")
    statement = _refusal(successor).rpartition(" `")[2].partition("`")[0]

    query(successor.settings.folders, statement)

    assert [task.slug for task in successor.tasks()] == ["ping"]
    assert successor.record_runs([a_run()]) == 1
    assert "another keiji" in _refusal(at("alpha"))


def test_a_machine_whose_name_changes_keeps_its_rows(at):
    with at("alpha", "m1") as store:
        store.save_task(_task())
    with at("renamed", "m1", folder="alpha") as store:
        assert [task.slug for task in store.tasks()] == ["ping"]
        assert store.record_runs([a_run()]) == 1
        assert store.host == "alpha"
    assert "another keiji" in _refusal(at("alpha", "m2", folder="newcomer"))


def test_a_copy_of_a_machines_folders_is_refused_until_it_is_one_of_its_own(at):
    with at("alpha", "m1") as store:
        store.save_task(_task())
    copy = at("beta", "m2", folder="alpha")

    message = _refusal(copy)
    assert "was copied from another machine" in message

    (copy.settings.folders.home / "installation").unlink()
    assert copy.tasks() == []
    assert copy.save_task(_task()).host == "beta"


def test_a_copy_that_replaces_the_machine_takes_over_as_the_message_says(at):
    with at("alpha", "m1") as store:
        store.save_task(_task())
    copy = at("beta", "m2", folder="alpha")

    query(copy.settings.folders, _refusal(copy).rpartition(" `")[2].partition("`")[0])

    assert copy.save_task(_task("other")).host == "alpha"
    assert "was copied" in _refusal(at("alpha", "m1"))


@pytest.mark.parametrize("torn", ["", "ab", "\0" * 33])
def test_an_id_that_a_power_cut_has_torn_is_made_anew(at, torn):
    store = at("alpha")
    path = store.settings.folders.home / "installation"
    path.write_text(torn)

    with store:
        store.save_task(_task())

    assert len(path.read_text()) == 33
    assert [name for name in os.listdir(path.parent) if name.startswith(".installation")] == []
    with at("alpha") as again:
        assert len(again.tasks()) == 1


def test_looking_claims_no_name(at):
    with at("alpha") as store:
        assert store.tasks() == []
        assert not (store.settings.folders.home / "installation").exists()
    with at("alpha", folder="another") as store:
        store.save_task(_task())
    _refusal(at("alpha"))


def test_who_leaves_takes_all_that_is_theirs_and_the_name(at):
    for name in ("alpha", "beta"):
        with at(name) as store:
            store.save_task(_task())
            store.record_runs([a_run()])
    with at("alpha") as store:
        assert store.forget_host() == 1
    with at("alpha", folder="another") as store:
        assert store.tasks() == []
        store.save_task(_task())
    with at("beta") as store:
        assert [task.host for task, _, _ in store.everyones()] == ["alpha", "beta"]
        assert len(store.runs("ping")) == 1


def test_of_two_that_claim_a_name_at_once_one_has_it(at, tmp_path):
    code = """
import sys
from pathlib import Path
from keiji.errors import StoreUnavailable
from keiji.folders import Folders
from recording import *
with open_store(settings_of(Folders(Path(sys.argv[1]), Path(sys.argv[2])))) as store:
    sys.stdin.readline()
    try:
        store.save_task(a_task(sys.argv[3]))
    except StoreUnavailable as problem:
        print("another keiji" in problem.message)
"""
    places = [at("alpha", folder=name).settings.folders for name in ("one", "two", "three")]
    processes = [start_python(code, place.workspace, place.home, f"t{i}") for i, place in enumerate(places)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=60) for process in processes]

    assert sorted(output for output, _ in outputs) == ["", "True\n", "True\n"], outputs
    assert len(query(places[0], "SELECT 1 FROM task")) == 1


def test_one_machines_write_waits_for_no_other_machine(at, postgres):
    with at("alpha") as store:
        store.save_task(_task())
        folders = store.settings.folders
    with at("beta") as store:
        store.save_task(_task())
        with store._engine.writing() as database:
            hosts.claim(store._engine, database, store.settings.folders)
            assert query(folders, "SELECT 1 FROM host WHERE name = 'alpha' FOR UPDATE NOWAIT") == [(1,)]
