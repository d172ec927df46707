"""The database's schema comes about in numbered steps."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from recording import a_run, a_task, add_step, new_home, query, settings_of, start_python

from keiji.errors import StoreUnavailable
from keiji.folders import Folders
from keiji.settings import Settings
from keiji.store import Store, migrations, open_store

DATABASES = ("sqlite", "postgres")
_MIGRATE = """
import sys
from pathlib import Path
from keiji.folders import Folders
from recording import *
sys.stdin.readline()
with open_store(settings_of(Folders(Path(sys.argv[1]), Path(sys.argv[2])))) as store:
    print(store.migrate())
"""
_DIE_IN_A_STEP = """
import os, sys
from pathlib import Path
from keiji.folders import Folders
from keiji.store import migrations
from recording import *
class Fatal(str):
    def replace(self, *_):
        os.kill(os.getpid(), 9)
migrations.MIGRATIONS[1] = (*migrations.MIGRATIONS[1], Fatal())
with open_store(settings_of(Folders(Path(sys.argv[1]), Path(sys.argv[2])))) as store:
    store.migrate()
"""


@pytest.fixture
def folders(tmp_path: Path, settle) -> Folders:
    return settle(new_home(tmp_path))


@pytest.fixture
def store(folders):
    with open_store(settings_of(folders)) as store:
        yield store


def _tables(folders: Folders) -> set[str]:
    if settings_of(folders).uses_sqlite:
        asked = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
    else:
        asked = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
    return {name for (name,) in query(folders, asked)}


def _works(store: Store) -> bool:
    store.save_task(a_task())
    return store.record_runs([a_run()]) == 1 and len(store.runs("ping")) == 1


def test_steps_are_numbered_from_one_without_a_gap():
    assert sorted(migrations.MIGRATIONS) == list(range(1, migrations.LATEST + 1))


def test_a_new_database_gets_every_step_and_a_second_time_none(store):
    assert store.migrate() == migrations.LATEST
    assert store.migrate() == 0
    assert _works(store)


def test_an_older_database_gets_what_it_lacks_and_keeps_what_it_has(store, folders, monkeypatch):
    store.migrate()
    store.save_task(a_task())
    store.close()
    add_step(monkeypatch)

    assert store.migrate() == 1
    assert "extra" in _tables(folders)
    assert store.get_task("ping")


def test_a_step_that_fails_leaves_nothing_behind(store, folders, monkeypatch):
    monkeypatch.setitem(migrations.MIGRATIONS, 1, (*migrations.MIGRATIONS[1], "CREATE nonsense"))

    with pytest.raises(StoreUnavailable):
        store.migrate()

    assert _tables(folders) == set()


def test_a_step_that_is_killed_is_done_again(store, folders):
    process = start_python(_DIE_IN_A_STEP, folders.workspace, folders.home)
    assert process.wait(timeout=60) == -signal.SIGKILL, process.communicate()[1]
    assert _tables(folders) == set()

    assert store.migrate() == migrations.LATEST
    assert _works(store)


def test_of_processes_that_start_at_once_one_applies_each_step(store, folders):
    processes = [start_python(_MIGRATE, folders.workspace, folders.home) for _ in range(4)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=120) for process in processes]

    assert sum(int(output) for output, _ in outputs) == migrations.LATEST, outputs
    assert _works(store)


def test_a_database_in_a_folder_that_cannot_be_made_is_named(tmp_path):
    folders = new_home(tmp_path)
    store = open_store(Settings(folders))
    folders.database.parent.rmdir()
    folders.database.parent.touch()

    with pytest.raises(StoreUnavailable, match="cannot be made"):
        store.migrate()
