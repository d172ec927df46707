"""What the doctor finds of tasks: their builds, units, timers, failures and states."""

from __future__ import annotations

import json
import shutil
from collections import Counter

import pytest
from commanding import Place
from examining import finding, findings
from recording import a_run, an_entry, ended

from keiji import files
from keiji.errors import UnsupportedHere
from keiji.findings import Severity
from keiji.host import Ending
from keiji.run import Result

RUN = "a" * 32


def build_of(place: Place):
    return place.folders.current("ping").resolve()


def change_record(place: Place, **changes: object) -> None:
    path = build_of(place) / "build.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


# builds


def no_current(place: Place) -> None:
    place.folders.current("ping").unlink()


def dangling(place: Place) -> None:
    shutil.rmtree(build_of(place))


def torn_record(place: Place) -> None:
    (build_of(place) / "build.json").write_text("")


def cut_short(place: Place) -> None:
    (build_of(place) / "start.pyc").write_bytes(b"")


def lost_code(place: Place) -> None:
    (build_of(place) / "task" / "function.py").unlink()


def no_interpreter(place: Place) -> None:
    change_record(place, command=["/usr/bin/python2.4", "start.pyc"])


def no_environment(place: Place) -> None:
    change_record(place, environment="gone")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (no_current, "it has no current build"),
        (dangling, "is gone"),
        (torn_record, "can't be read"),
        (cut_short, "gone or cut short"),
        (lost_code, "gone or cut short"),
        (no_interpreter, "its interpreter /usr/bin/python2.4 is gone"),
        (no_environment, "venv/gone is gone"),
    ],
)
def test_a_build_that_can_not_run_is_an_error_and_building_the_remedy(well: Place, spoil, said) -> None:
    spoil(well)

    (found,) = (it for it in findings(well) if it.check == "builds")
    assert (found.severity, found.task, found.remedy) == (Severity.ERROR, "ping", "`keiji task build ping`")
    assert said in found.message


def test_where_every_build_is_broken_all_are_built(well: Place) -> None:
    well.write("pong")
    well.build("pong")
    for slug in ("ping", "pong"):
        well.folders.current(slug).unlink()

    found = [it for it in findings(well) if it.check == "builds"]
    assert [it.remedy for it in found] == ["`keiji task build --all`"] * 2


def test_what_a_build_says_goes_away_when_it_is_built(well: Place) -> None:
    cut_short(well)

    well.build()

    assert findings(well) == []


# units


def test_units_that_were_changed_by_hand_are_an_error(well: Place) -> None:
    well.host.unit_files("ping")[0].write_text("OnCalendar=never")

    assert finding(well, "units", "error").task == "ping"


def test_another_time_zone_makes_other_units(well: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    render = well.host.render
    monkeypatch.setattr(
        well.host,
        "render",
        lambda task, command: {
            path: text.replace("UTC", "") + str(task.schedule.policy.timezone)
            for path, text in render(task, command).items()
        },
    )
    well.host.unit_files("ping")[0].write_text("of the zone UTC")

    assert finding(well, "units", "error").remedy == "`keiji system update`"


def test_a_task_that_the_database_does_not_know_is_an_error(well: Place) -> None:
    with well.session.store() as store:
        store.delete_task("ping")

    found = finding(well, "units", "error")
    assert (found.task, found.remedy) == ("ping", "`keiji task build ping`")


def test_units_that_the_system_can_not_have_any_more_are_an_error(well: Place) -> None:
    well.host.faults["render"] = UnsupportedHere("there is no such zone")

    found = finding(well, "units", "error")
    assert "there is no such zone" in found.message


def test_a_recorded_task_without_units_and_build_is_an_error(well: Place) -> None:
    well.host.unit_files("ping")[0].unlink()
    shutil.rmtree(well.folders.builds("ping"))

    assert finding(well, "units", "error").remedy == "`keiji task build ping`"


def test_an_edited_source_is_no_fault(well: Place) -> None:
    (well.folders.tasks / "ping" / "function.py").write_text("not even python (")

    assert findings(well) == []


# timers


def test_a_timer_that_should_wait_and_does_not_is_an_error(well: Place) -> None:
    well.host.armed.clear()

    found = finding(well, "timers", "error")
    assert (found.task, found.remedy) == ("ping", "`keiji system start`")


def test_a_timer_that_is_active_and_waits_for_nothing_is_armed_anew(
    well: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(well.host, "idle", lambda slugs: list(slugs))

    assert finding(well, "timers", "error").remedy == "`keiji task restart ping`"


def test_a_timer_that_waits_at_the_second_look_is_no_fault(
    well: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [["ping"], []]
    monkeypatch.setattr(well.host, "idle", lambda slugs: answers.pop(0))

    assert findings(well) == []
    assert answers == []


def test_no_timer_has_to_wait_while_the_system_is_stopped(well: Place) -> None:
    well.host.stop_system()

    assert findings(well) == []


def test_held_and_disabled_tasks_are_notes_and_need_no_timer(well: Place) -> None:
    well.write("off")
    well.build("off")
    well.host.set_enabled("off", False)
    well.host.disarm(["off"])
    well.hold("ping", "Traceback\nValueError: no")

    disabled, held = findings(well)

    assert (disabled.severity, disabled.task) == (Severity.NOTE, "off")
    assert disabled.remedy == "`keiji task enable off`"
    assert (held.severity, held.task) == (Severity.NOTE, "ping")
    assert held.message.endswith("UTC: ValueError: no")
    assert "`keiji task resolve ping`" in held.remedy


# failures


@pytest.fixture
def failed(well: Place) -> Place:
    """The manager says that a run of ping failed."""
    well.host.endings["ping"] = Ending(run=RUN, result="exit-code", status=203)
    return well


def test_a_failed_unit_without_a_record_of_the_run_is_an_error(failed: Place) -> None:
    found = finding(failed, "failures", "error")
    assert (found.task, "`memory keep house`" in found.remedy) == ("ping", True)


def test_a_failure_that_is_recorded_is_no_finding(failed: Place) -> None:
    failed.record(a_run(task="ping", id=RUN, result=Result.FAILED))

    assert findings(failed) == []


def test_a_failure_whose_record_waits_is_no_finding(failed: Place) -> None:
    failed.wait_for_delivery(ended(an_entry(id=RUN), Result.FAILED))

    assert findings(failed) == []


def test_a_failure_that_holds_its_task_is_but_a_note(failed: Place) -> None:
    failed.hold()

    assert finding(failed, "tasks", "note").task == "ping"


def test_a_failed_unit_of_no_task_is_nobody_s(failed: Place) -> None:
    failed.host.endings["stranger"] = failed.host.endings.pop("ping")

    assert findings(failed) == []


def test_the_manager_is_asked_for_all_tasks_at_once(well: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        files.write(well.host.unit_files(f"t{number}")[0], "")
        well.host.set_enabled(f"t{number}", True)
        well.host.endings[f"t{number}"] = Ending(run=f"{number:032x}", result="exit-code", status=1)
    asked: list[str] = []
    for name in ("idle", "timers", "failed", "endings_of", "ending"):
        method = getattr(well.host, name)
        monkeypatch.setattr(
            well.host, name, lambda *words, name=name, method=method: asked.append(name) or method(*words)
        )
    # the fake's own way to answer for many
    monkeypatch.setattr(
        well.host, "endings_of", lambda slugs: asked.append("endings_of") or dict(well.host.endings)
    )

    assert {it.check for it in findings(well)} >= {"timers", "failures"}

    looks = {"idle": 2, "timers": 1, "failed": 2, "endings_of": 2}  # twice: what passes by itself is no fault
    assert Counter(asked) == looks
