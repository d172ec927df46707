"""The store in SQLite: its file, its disk, and what a look costs."""

from __future__ import annotations

import ast
import os
import shlex
import stat
from pathlib import Path

import pytest
from recording import ROOT, a_run, locked, new_home, ready_store, run_python

from keiji.errors import StoreUnavailable
from keiji.folders import Folders
from keiji.settings import Settings
from keiji.store import Store, open_store, queries


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return new_home(tmp_path)


@pytest.fixture
def store(folders):
    with ready_store(folders, "ping") as store:
        yield store


def _impatient(folders: Folders) -> Store:
    return open_store(Settings(folders), patience=0.05)


def _unavailable(store: Store) -> str:
    with pytest.raises(StoreUnavailable) as caught:
        store.tasks()
    assert "\n" not in caught.value.message
    return caught.value.message


def test_recording_is_on_the_disk_when_it_is_done_and_other_writes_need_not_be(store, monkeypatch):
    seen = []

    def look(database, *_):
        seen.extend(database.execute_sql("PRAGMA synchronous").fetchone())
        return 0

    monkeypatch.setattr("keiji.store.models.record", look)
    monkeypatch.setattr("keiji.store.models.delete_task", look)
    store.record_runs([a_run()])
    store.delete_task("ping")

    full, normal = 2, 1
    assert seen == [full, normal]


def test_no_look_goes_through_all_runs(store):
    plans = []

    def ask(query: str, *values: object) -> list[tuple[object, ...]]:
        plans.extend(row[3] for row in store._engine.ask(f"EXPLAIN QUERY PLAN {query}", *values))
        return []

    queries.runs(ask, "h", "ping", 5)
    queries.last_runs(ask, "h")
    queries.runs_beginning(ask, "h", "ping", "abc")
    queries.run_of_id(ask, "h", "abc")
    queries.kept(ask, 1, 5, 0)

    assert len(plans) >= 10
    assert not [plan for plan in plans if plan.startswith(("SCAN run", "SCAN other", "USE TEMP"))]


def test_a_missing_database_is_named_with_the_remedy_and_is_not_made(folders):
    message = _unavailable(_impatient(folders))

    assert str(folders.database) in message
    assert "keiji init" in message
    assert not folders.database.exists()


def test_an_empty_database_is_one_that_init_has_to_make(folders):
    folders.database.touch()

    assert "`keiji init`" in _unavailable(_impatient(folders))


def test_a_damaged_database_is_named_with_the_remedy(folders):
    folders.database.write_text("this is no database at all" * 100)

    assert "is damaged: move it away" in _unavailable(_impatient(folders))


def test_a_full_disk_is_an_error_that_loses_nothing(store, folders):
    code = """
import resource, signal, sys
from pathlib import Path
from keiji.errors import StoreUnavailable
from keiji.folders import Folders
from recording import *
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = open_store(Settings(Folders(Path(sys.argv[1]), Path(sys.argv[2]))))
size = Path(sys.argv[2], "db", "keiji.db").stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
try:
    store.record_runs([a_run(number, error="x" * 2000) for number in range(1, 100)])
except StoreUnavailable as error:
    print(error)
"""
    message = run_python(code, folders.workspace, folders.home)

    assert "disk" in message
    assert "damaged" not in message
    assert store.runs("ping") == []
    assert store.record_runs([a_run()]) == 1


def test_the_database_can_be_read_by_its_owner_only(tmp_path):
    folders = Folders(tmp_path / "workspace", tmp_path / "home")
    with ready_store(folders, "ping") as store:
        modes = [stat.S_IMODE(path.stat().st_mode) for path in folders.database.parent.iterdir()]
        assert store.find_task("ping")

    assert len(modes) == 3
    assert set(modes) == {0o600}
    assert stat.S_IMODE(folders.database.parent.stat().st_mode) == 0o700


def test_a_home_of_any_name_holds_the_database(tmp_path):
    folders = new_home(tmp_path / "a?mode=ro#%3f b\\é\n")
    with ready_store(folders, "ping") as store:
        assert store.find_task("ping")

    assert folders.database.exists()


def test_looking_does_not_load_peewee(store, folders):
    code = """
import sys
from pathlib import Path
from keiji.folders import Folders
from keiji.settings import Settings
from keiji.store import open_store
with open_store(Settings(Folders(Path(sys.argv[1]), Path(sys.argv[2])))) as store:
    store.tasks(), store.get_task("ping"), store.runs("ping"), store.last_runs()
    store.mend("ping", False, None)
print("peewee" in sys.modules)
"""
    assert run_python(code, folders.workspace, folders.home) == "False\n"


def test_a_write_loads_no_driver_of_another_database_and_leaves_them_importable(store, folders, tmp_path):
    (tmp_path / "psycopg2.py").write_text("print('loaded')")
    code = """
import sys
from pathlib import Path
from keiji.folders import Folders
from recording import *
sys.path.insert(0, sys.argv[3])
with open_store(Settings(Folders(Path(sys.argv[1]), Path(sys.argv[2])))) as store:
    store.record_runs([a_run()])
print("recorded")
import psycopg2
"""
    assert run_python(code, folders.workspace, folders.home, tmp_path) == "recorded\nloaded\n"


def test_nothing_outside_the_store_imports_peewee():
    importing = set()
    for path in (ROOT / "keiji").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.partition(".")[0] in ("peewee", "playhouse") for name in names):
                importing.add(path.parent.name)

    assert importing == {"store"}


@pytest.mark.parametrize(("has_psmisc", "program"), [(True, "fuser"), (False, "lsof")])
def test_a_locked_database_is_told_with_a_line_that_can_be_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_psmisc: bool, program: str
) -> None:
    folders = new_home(tmp_path / "the home's")
    with ready_store(folders):
        pass
    monkeypatch.setattr(os.path, "exists", lambda path: has_psmisc)

    with locked(folders), _impatient(folders) as store, pytest.raises(StoreUnavailable) as caught:
        store.check_writable()

    first, *_, last = shlex.split(caught.value.message.split("`")[1])
    assert (first, last) == (program, str(folders.database))
