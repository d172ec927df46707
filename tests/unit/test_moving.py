"""DB_URL is changed when there are tasks already: nothing is lost, and it is said what to do."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from commanding import Place
from recording import an_entry, ended

from keiji.commands import listing, looking
from keiji.errors import TaskNotBuilt

Out = pytest.CaptureFixture[str]


@pytest.fixture
def moved(place: Place, postgres) -> Place:
    """The task ping has a run in SQLite and one that waits, and DB_URL names an empty database since."""
    place.write()
    place.build()
    place.wait_for_delivery(ended(an_entry(1)))
    looking.history(place.session, "ping", 5, as_json=True)
    place.wait_for_delivery(ended(an_entry(2)))
    url = postgres.new_schema(f"moved{abs(hash(place.folders.home)):x}")
    place.session = replace(place.session, settings=replace(place.session.settings, db_url=url))
    return place


def _history(place: Place, capsys: Out) -> list[str]:
    capsys.readouterr()
    looking.history(place.session, "ping", 5, as_json=True)
    return [run["id"] for run in json.loads(capsys.readouterr().out)]


def test_the_list_names_the_tasks_and_the_command_that_records_them_again(moved: Place, capsys: Out) -> None:
    listing.list_tasks(moved.session, as_json=False)

    assert "ping: installed, but not in the database: `keiji task build --all`" in capsys.readouterr().err
    with pytest.raises(TaskNotBuilt, match="`keiji task build ping` records it again"):
        looking.get(moved.session, "ping", as_json=False)


def test_runs_that_wait_are_recorded_when_the_tasks_are(moved: Place, capsys: Out) -> None:
    listing.list_tasks(moved.session, as_json=False)
    moved.build(None)

    assert _history(moved, capsys) == [an_entry(2).id]


def test_the_history_from_before_is_there_again_with_the_old_setting(moved: Place, capsys: Out) -> None:
    moved.build(None)
    settings = replace(moved.session.settings, db_url="default")
    moved.session = replace(moved.session, settings=settings)

    assert _history(moved, capsys)[-1] == an_entry(1).id
