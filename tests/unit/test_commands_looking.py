"""The commands that only look, on small data."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta, timezone

import pytest
from commanding import Place
from recording import a_run, an_entry, ended

from keiji.commands import listing, looking
from keiji.commands.update import update
from keiji.delivering import deliver
from keiji.errors import NoSuchTask, TaskNotBuilt
from keiji.host import Timer
from keiji.run import Result, Trigger
from keiji.schedule import Schedule

DATABASES = ("sqlite", "postgres")

RECORD = """\
TaskModel:
ID: 1
TaskId: id-of-ping_google
Name: ping_google
Description: pings google
Schedule: units:seconds,interval:10
LastExecutionTime: N/A
NextExecutionTime: 2026-11-23T15:00:00+03:00
LogPath: memory:ping_google
Slug: ping_google
Type: HMS
Executable: {home}/exec/tasks/ping_google/current
IsRunning: true
IsQueued: false
IsError: false
IsDisabled: false
ErrorTxt:
"""

FIELDS = [
    *("id", "task_id", "name", "description", "schedule", "last_execution_time", "next_execution_time"),
    *("log_path", "slug", "type", "executable", "is_running", "is_queued", "is_error", "is_disabled"),
    *("error_txt", "host"),
]
RUN_FIELDS = [
    *("id", "task", "trigger", "due", "began", "ended", "result", "exit_status", "signal", "error"),
    *("attempts", "cpu_seconds", "peak_memory_bytes", "build", "host"),
]

Out = pytest.CaptureFixture[str]


@pytest.fixture
def nairobi(place: Place) -> Place:
    place.in_zone("Africa/Nairobi")
    return place


def shown(place: Place, capsys: Out, name: str = "ping") -> dict[str, str]:
    """The record's fields."""
    looking.get(place.session, name, as_json=False)
    pairs = (line.partition(":") for line in capsys.readouterr().out.splitlines()[1:])
    return {field: value.strip() for field, _, value in pairs}


# get


def test_the_record_has_the_documented_fields_in_their_order(nairobi: Place, capsys: Out) -> None:
    nairobi.add("ping_google", description="pings google")

    looking.get(nairobi.session, "ping_google", as_json=False)

    assert capsys.readouterr().out == RECORD.format(home=nairobi.folders.home)


def test_the_json_record_has_the_same_fields_and_the_host(nairobi: Place, capsys: Out) -> None:
    nairobi.add()

    looking.get(nairobi.session, "ping", as_json=True)

    said = json.loads(capsys.readouterr().out)
    assert [*said] == FIELDS
    assert said["last_execution_time"] is None
    assert said["next_execution_time"] == "2026-11-23T15:00:00+03:00"
    assert said["is_running"] is True


def test_all_records_are_parted_by_an_empty_line(place: Place, capsys: Out) -> None:
    for name in ("b", "a"):
        place.add(name)

    looking.get(place.session, None, as_json=False)

    first, second = capsys.readouterr().out.split("\n\n")
    assert "\nName: a\n" in first
    assert "\nName: b\n" in second


@pytest.mark.parametrize("names", [[], ["ping"], ["a", "b"]])
def test_without_a_name_json_is_a_list(place: Place, capsys: Out, names: list[str]) -> None:
    for name in names:
        place.add(name)

    looking.get(place.session, None, as_json=True)

    assert [said["name"] for said in json.loads(capsys.readouterr().out)] == names


def test_a_held_task_shows_its_last_words_on_one_line(place: Place, capsys: Out) -> None:
    place.add()
    place.hold(error="Traceback:\n  1/0\nZeroDivisionError")

    said = shown(place, capsys)

    assert (said["IsError"], said["ErrorTxt"]) == ("true", "Traceback:\\n  1/0\\nZeroDivisionError")
    assert (said["IsRunning"], said["NextExecutionTime"]) == ("false", "N/A")


def test_a_disabled_task_is_shown_as_such(place: Place, capsys: Out) -> None:
    place.add()
    place.host.set_enabled("ping", False)
    place.host.disarm(["ping"])

    said = shown(place, capsys)

    assert (said["IsDisabled"], said["IsRunning"]) == ("true", "false")


def test_a_run_that_was_asked_for_is_queued(place: Place, capsys: Out) -> None:
    place.add()
    place.folders.requested("ping").touch()

    assert shown(place, capsys)["IsQueued"] == "true"


def test_a_look_delivers_what_waits(nairobi: Place, capsys: Out) -> None:
    nairobi.add()
    nairobi.wait_for_delivery(ended(an_entry()))

    assert shown(nairobi, capsys)["LastExecutionTime"] == "2026-11-23T15:01:00+03:00"


def test_a_look_mends_a_record_that_says_otherwise_than_is_true(place: Place) -> None:
    place.add()
    place.hold(error="no")

    looking.get(place.session, "ping", as_json=False)

    assert place.rows()[0][-2:] == (1, "no")


def test_a_description_cannot_add_a_field(place: Place, capsys: Out) -> None:
    place.add(description="pings\nErrorTxt: forged")

    said = shown(place, capsys)

    assert (said["Description"], said["ErrorTxt"]) == ("pings\\nErrorTxt: forged", "")


def test_while_a_timer_s_run_goes_on_the_schedule_knows_the_next_time(
    place: Place, capsys: Out, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.add(schedule=Schedule().cron("0 0 1 1 *"))
    monkeypatch.setattr(place.host, "timers", lambda slugs: {"ping": Timer(True, True, None)})

    assert shown(place, capsys)["NextExecutionTime"].endswith("-01-01T00:00:00+00:00")


def test_a_name_finds_its_task_by_the_slug(place: Place, capsys: Out) -> None:
    place.add("Ping Google")

    assert shown(place, capsys, "ping google")["Name"] == "Ping Google"


def test_a_task_that_is_not_there_is_named(place: Place) -> None:
    with pytest.raises(NoSuchTask, match="'nobody'"):
        looking.get(place.session, "nobody", as_json=False)


def test_a_task_that_was_never_built_is_told_so(place: Place) -> None:
    place.write()

    with pytest.raises(TaskNotBuilt, match="keiji task build ping"):
        looking.get(place.session, "ping", as_json=False)


def test_without_tasks_the_way_to_one_is_shown(place: Place, capsys: Out) -> None:
    looking.get(place.session, None, as_json=False)

    said = capsys.readouterr()
    assert said.out == ""
    assert "keiji task create" in said.err


# list


def cells(line: str) -> list[str]:
    return re.split(r"  +", line.strip())


def test_the_list_has_a_line_for_each_task(place: Place, capsys: Out) -> None:
    place.add("Ping Google")
    place.add("held")
    place.hold("held")
    now = datetime.now(timezone.utc)
    began = now - timedelta(minutes=5, seconds=2)
    place.record(a_run(task="ping-google", began=began, ended=began + timedelta(seconds=2)))

    listing.list_tasks(place.session, as_json=False)

    head, held, ping = map(cells, capsys.readouterr().out.splitlines())
    assert head == ["NAME", "STATE", "SCHEDULE", "LAST", "NEXT"]
    assert ping[:4] == [
        *("Ping Google", "armed", "units:seconds,interval:10"),
        "succeeded in 2.0s, 5min ago",
    ]
    assert ping[4].endswith("12:00:00")
    assert held == ["held", "held", "units:seconds,interval:10", "never", "-"]


def test_a_task_that_was_never_built_is_listed_as_created(place: Place, capsys: Out) -> None:
    place.write("new")

    listing.list_tasks(place.session, as_json=False)

    assert cells(capsys.readouterr().out.splitlines()[1]) == ["new", "created", "-", "-", "-"]


def test_the_json_list_has_the_record_with_state_and_last_run(place: Place, capsys: Out) -> None:
    place.add("a")
    place.add("b")
    place.record(a_run(task="a"))

    listing.list_tasks(place.session, as_json=True)

    a, b = json.loads(capsys.readouterr().out)
    assert [*a] == [*FIELDS, "state", "last_run"]
    assert [*a["last_run"]] == RUN_FIELDS
    assert (b["state"], b["last_run"]) == ("armed", None)


def test_an_empty_list_shows_the_way_to_a_task(place: Place, capsys: Out) -> None:
    listing.list_tasks(place.session, as_json=False)

    said = capsys.readouterr()
    assert (said.out, "keiji task create" in said.err) == ("", True)


# history


def test_the_history_begins_with_the_newest_run(nairobi: Place, capsys: Out) -> None:
    nairobi.add()
    nairobi.record(
        a_run(1),
        a_run(2, result=Result.FAILED, exit_status=3, trigger=Trigger.MANUAL, attempts=3),
        a_run(3, result=Result.KILLED, signal=9),
    )

    looking.history(nairobi.session, "ping", 2, as_json=False)

    assert [cells(line) for line in capsys.readouterr().out.splitlines()] == [
        ["ID", "BEGAN", "TOOK", "RESULT", "WHY", "ATTEMPTS"],
        ["000000000000", "2026-11-23 15:03:00", "1.0s", "killed (signal 9)", "timer", "1"],
        ["000000000000", "2026-11-23 15:02:00", "1.0s", "failed (3)", "manual", "3"],
    ]


def test_a_run_in_json_has_the_documented_fields(nairobi: Place, capsys: Out) -> None:
    nairobi.add()
    nairobi.record(a_run())

    looking.history(nairobi.session, "ping", 20, as_json=True)

    (said,) = json.loads(capsys.readouterr().out)
    assert [*said] == RUN_FIELDS
    assert (said["id"], said["task"], said["trigger"]) == (f"{1:032x}", "ping", "timer")
    assert said["began"] == "2026-11-23T15:01:00.000000+03:00"


def test_a_task_without_runs_says_so(place: Place, capsys: Out) -> None:
    place.add()

    looking.history(place.session, "ping", 20, as_json=False)

    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "note: ping has not run yet\n")


# next


def test_next_times_come_with_their_zone(place: Place, capsys: Out) -> None:
    place.add(schedule=Schedule().cron("0 0 1 1 *").in_timezone("Africa/Nairobi"))

    looking.next_times(place.session, "ping", 2, as_json=False)

    first, second = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"20\d\d-01-01T00:00:00\+03:00 Africa/Nairobi", first)
    assert int(second[:4]) == int(first[:4]) + 1


def test_a_schedule_without_a_zone_goes_by_the_settings(nairobi: Place, capsys: Out) -> None:
    nairobi.add(schedule=Schedule().cron("0 0 1 1 *"))

    looking.next_times(nairobi.session, "ping", 1, as_json=False)

    assert capsys.readouterr().out.endswith("-01-01T00:00:00+03:00 Africa/Nairobi\n")


def test_until_the_units_follow_another_zone_the_times_are_those_of_the_units(
    place: Place, capsys: Out
) -> None:
    place.add(schedule=Schedule().cron("0 0 1 1 *"))
    place.in_zone("Africa/Nairobi")

    looking.next_times(place.session, "ping", 1, as_json=False)

    said = capsys.readouterr()
    assert said.out.endswith("-01-01T00:00:00+00:00 UTC\n")
    assert said.err == (
        "note: ping goes by UTC until `keiji system update`, though TIME_ZONE is Africa/Nairobi\n"
    )
    update(place.session, cc=False)
    capsys.readouterr()
    looking.next_times(place.session, "ping", 1, as_json=False)
    said = capsys.readouterr()
    assert (said.out[-22:], said.err) == ("+03:00 Africa/Nairobi\n", "")


def test_a_schedule_that_needs_no_zone_follows_none(place: Place, capsys: Out) -> None:
    place.add()
    place.in_zone("Africa/Nairobi")

    looking.next_times(place.session, "ping", 1, as_json=False)

    assert capsys.readouterr().err == ""


def test_until_the_units_follow_another_zone_a_run_was_due_by_that_of_the_units(place: Place) -> None:
    place.add(schedule=Schedule().on().every_day().at("12:01"))
    place.in_zone("Africa/Nairobi")
    place.wait_for_delivery(ended(an_entry(1)))  # at 12:01 UTC

    with place.session.store() as store:
        deliver(place.host, store)
        (run,) = store.runs("ping")

    assert (run.trigger, run.due) == (Trigger.TIMER, run.began)


def test_next_times_in_json_are_a_list(place: Place, capsys: Out) -> None:
    place.add(schedule=Schedule().cron("0 0 1 1 *"))

    looking.next_times(place.session, "ping", 3, as_json=True)

    assert len(json.loads(capsys.readouterr().out)) == 3


def test_a_task_that_is_not_armed_is_told_so_beside_its_times(place: Place, capsys: Out) -> None:
    place.add()
    place.hold()

    looking.next_times(place.session, "ping", 1, as_json=False)

    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 1
    assert "ping is held, not armed" in said.err


def test_a_task_for_each_boot_has_no_times(place: Place, capsys: Out) -> None:
    place.add(schedule=Schedule().at_boot())

    looking.next_times(place.session, "ping", 5, as_json=False)

    said = capsys.readouterr()
    assert (said.out, "at each boot" in said.err) == ("", True)
