"""A database that an earlier release wrote is brought up to date, and keeps all it holds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from commanding import Place
from recording import NOON, a_run, a_task, connect, new_home, query, settings_of

from keiji.commands.update import update
from keiji.folders import Folders
from keiji.run import Result, Trigger
from keiji.store import Store, migrations, open_store

DATABASES = ("sqlite", "postgres")
DATA = Path(__file__).parents[1] / "data"
EARLIER = range(1, migrations.LATEST)


@pytest.fixture(autouse=True)
def workshop(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine where the stored databases were written."""
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "workshop", "", "", "")))


def _bring(folders: Folders, number: int) -> None:
    """Put the stored database of that schema in the place of what is there."""
    if settings_of(folders).uses_sqlite:
        folders.database.unlink(missing_ok=True)
        text = (DATA / f"schema-{number}.sqlite.sql").read_text(encoding="utf-8")
        connect(folders).executescript(text)
    else:
        query(folders, "DROP TABLE IF EXISTS run, task, host, migration")
        query(folders, (DATA / f"schema-{number}.postgres.sql").read_text(encoding="utf-8"))


def _check(store: Store) -> None:
    """All is there that the stored database held."""
    assert [(task.id, task.slug, task.host) for task in store.tasks()] == [
        (2, "my-backup", "workshop"),
        (1, "ping", "workshop"),
    ]
    assert store.get_task("ping").description == "pings 計時; it's 100% \\ odd\nlines"
    assert str(store.get_task("my-backup").schedule).startswith("days:weekdays,time:21:30,timezone:Africa")
    runs = store.runs("ping")
    assert [run.result for run in runs] == [Result.KILLED, Result.FAILED, Result.SUCCEEDED]
    assert (runs[0].signal, runs[0].trigger) == (9, Trigger.CATCH_UP)
    assert (runs[1].error, runs[1].attempts) == ("it's \\ broken\n計", 3)
    assert runs[2] == a_run(
        1, host="workshop", due=NOON, exit_status=0, cpu_seconds=0.25, peak_memory_bytes=2**33, build="a1b2"
    )


def _works(store: Store) -> bool:
    return (
        store.record_runs([a_run(1), a_run(9)]) == 1
        and store.save_task(a_task("new")).id == 4
        and not store.mend("my-backup", True, "it broke")
        and store.delete_task("my-backup")
        and query(store.settings.folders, "SELECT max(number) FROM migration") == [(migrations.LATEST,)]
    )


def test_every_earlier_schema_has_a_stored_database():
    stored = {path.name for path in DATA.glob("schema-*")}

    assert stored == {f"schema-{n}.{kind}.sql" for n in EARLIER for kind in ("sqlite", "postgres")}


@pytest.mark.parametrize("number", EARLIER)
def test_system_update_brings_it_up_to_date(place: Place, number: int) -> None:
    for name in ("ping", "My Backup"):
        place.add(name)
    _bring(place.folders, number)

    assert update(place.session, cc=False) == 0

    with place.session.store() as store:
        _check(store)
        assert store.migrate() == 0
        assert _works(store)


@pytest.mark.parametrize("number", EARLIER)
@pytest.mark.parametrize("is_write", [False, True])
def test_so_does_its_first_use(tmp_path: Path, settle, number: int, is_write: bool) -> None:
    folders = settle(new_home(tmp_path))
    _bring(folders, number)

    with open_store(settings_of(folders)) as store:
        if is_write:
            store.check_writable()
        _check(store)
        assert _works(store)
