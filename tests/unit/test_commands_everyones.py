"""`keiji task list --all-hosts`: the tasks of every machine that shares the database."""

from __future__ import annotations

import json

import pytest
from commanding import Place
from recording import a_run, query

from keiji import cli
from keiji.commands.everyones import list_everyones
from keiji.commands.listing import list_tasks
from keiji.run import Result
from keiji.schedule import Schedule

DATABASES = ("postgres",)

Out = pytest.CaptureFixture[str]
FRIDAYS = Schedule().on().friday().at("22:00")


def _elsewhere(place: Place, slug: str, name: str = "elsewhere", flags: str = "") -> None:
    """A task as another machine has recorded it."""
    query(place.folders, f"UPDATE task SET host = '{name}'{flags} WHERE slug = '{slug}'")
    runs = f"(SELECT id FROM task WHERE slug = '{slug}')"
    query(place.folders, f"UPDATE run SET host = '{name}' WHERE task = {runs}")


@pytest.fixture
def shared(place: Place) -> Place:
    """This machine's task `mine`, and others' `armed`, `broken`, `off` and `zoneless`."""
    for slug in ("mine", "armed", "broken", "off"):
        place.add(slug, Schedule().run().every(1).hours().build())
    place.add("zoneless", FRIDAYS.build())
    place.add("zoned", FRIDAYS.in_timezone("Africa/Nairobi").build())
    place.record(a_run(1, "broken", result=Result.FAILED), a_run(2, "mine"))
    _elsewhere(place, "armed")
    _elsewhere(place, "zoneless")
    _elsewhere(place, "zoned")
    _elsewhere(place, "broken", flags=", is_error = TRUE, error_txt = 'it broke'")
    _elsewhere(place, "off", flags=", is_disabled = TRUE")
    return place


def _entries(place: Place, capsys: Out) -> dict[str, dict[str, object]]:
    list_everyones(place.session, as_json=True)
    return {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}


def test_each_task_stands_with_its_machine_and_what_is_known_of_it(shared: Place, capsys: Out) -> None:
    list_everyones(shared.session, as_json=False)

    said = capsys.readouterr()
    rows = {line.split()[0]: line.split()[1:3] for line in said.out.splitlines()}
    own = rows.pop("mine")
    assert own[1] == "armed"
    assert rows == {
        "NAME": ["HOST", "STATE"],
        "armed": ["elsewhere", "-"],
        "broken": ["elsewhere", "held"],
        "off": ["elsewhere", "disabled"],
        "zoned": ["elsewhere", "-"],
        "zoneless": ["elsewhere", "-"],
    }
    assert "failed in" in said.out
    assert "only what is recorded" in said.err


def test_json_has_the_host_and_null_for_what_only_another_machine_knows(shared: Place, capsys: Out) -> None:
    entries = _entries(shared, capsys)

    assert entries["mine"]["is_running"] is True
    assert entries["mine"]["state"] == "armed"
    other = entries["armed"]
    assert other["host"] == "elsewhere"
    unknown = ("is_running", "is_queued", "log_path", "executable", "state")
    assert [other[name] for name in unknown] == [None] * len(unknown)
    assert entries["broken"]["error_txt"] == "it broke"
    assert entries["broken"]["last_run"]["host"] == "elsewhere"  # type: ignore[index]


def test_a_next_time_is_told_only_where_the_schedule_alone_knows_it(shared: Place, capsys: Out) -> None:
    times = {name: entry["next_execution_time"] for name, entry in _entries(shared, capsys).items()}

    assert times["broken"] is times["off"] is times["zoneless"] is None
    assert times["armed"]
    assert str(times["zoned"]).endswith("T19:00:00+00:00")


def test_without_it_only_this_machines_tasks_are_listed(shared: Place, capsys: Out) -> None:
    list_tasks(shared.session, as_json=True)

    assert [entry["name"] for entry in json.loads(capsys.readouterr().out)] == ["mine"]


def test_it_is_not_watched(capsys: Out) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["task", "list", "--watch", "--all-hosts"])

    assert ended.value.code == 2
    assert "--all-hosts" in capsys.readouterr().err


def test_where_nobody_has_a_task_it_is_said_how_to_make_one(place: Place, capsys: Out) -> None:
    list_everyones(place.session, as_json=False)

    assert "keiji task create" in capsys.readouterr().err
