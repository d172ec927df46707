"""`keiji system update`: everything is rendered anew, from what is stored."""

from __future__ import annotations

from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest
from authoring import SCHEDULE_HEAD, write_task
from commanding import EVERY_MINUTE, Place

from keiji.commands import update as module
from keiji.commands.update import update
from keiji.errors import HostFailed
from keiji.folders import Folders
from keiji.locks import task_lock
from keiji.schedule import Schedule
from keiji.task import Task
from keiji.testing import MemoryHost, broken

DAILY = Schedule().on().every_day().at("09:00")


class ZonedHost(MemoryHost):
    """Its units say the zone, as systemd's do."""

    def render(self, task: Task, command: list[str]) -> dict[Path, str]:
        zone = task.schedule.policy.timezone
        return {path: f"{text}{zone}\n" for path, text in super().render(task, command).items()}


@pytest.fixture
def place(place: Place) -> Place:
    host = ZonedHost(place.folders)
    host.system = True
    object.__setattr__(place.session, "host", host)
    place.host = host
    return place


def spoil(place: Place, slug: str) -> None:
    """A power cut left nothing in the record of its build."""
    (place.folders.current(slug) / "build.json").write_text("")


def test_units_are_rendered_from_the_stored_schedules_never_from_edited_sources(place: Place) -> None:
    place.add()
    before = place.units()
    write_task(place.folders, schedule=EVERY_MINUTE)
    (place.host.unit_files("ping")[0]).write_text("of an older keiji")

    assert update(place.session, cc=False) == 0

    assert place.units() == before


def test_units_that_are_right_are_left_alone(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.add()
    before, reloads = place.state(), place.host.reloads

    assert update(place.session, cc=False) == 0

    assert (place.state(), place.host.reloads) == (before, reloads)
    assert "0 of 1 tasks' units changed" in capsys.readouterr().out


def test_another_time_zone_is_rendered_into_the_units(place: Place) -> None:
    place.add(schedule=DAILY)
    place.in_zone("Africa/Nairobi")

    update(place.session, cc=False)

    assert place.units()["ping"].endswith("Africa/Nairobi\n")
    assert place.host.armed == {"ping"}


def test_all_changed_units_take_one_reload(place: Place) -> None:
    for name in ("a", "b", "c"):
        place.add(name, DAILY)
    place.in_zone("Africa/Nairobi")
    reloads = place.host.reloads

    update(place.session, cc=False)

    assert place.host.reloads == reloads + 1
    assert place.host.armed == {"a", "b", "c"}


def test_a_timer_that_should_wait_and_does_not_is_armed_again(place: Place) -> None:
    place.add()
    place.host.armed.clear()

    update(place.session, cc=False)

    assert place.host.armed == {"ping"}


def test_disabled_and_held_tasks_stay_as_they_are(place: Place) -> None:
    for name in ("held", "disabled"):
        place.add(name, DAILY)
    place.host.set_enabled("disabled", False)
    place.host.disarm(["disabled"])
    place.hold("held")
    place.in_zone("Africa/Nairobi")

    assert update(place.session, cc=False) == 0

    assert place.host.armed == set()
    assert not place.host.is_enabled("disabled")
    assert all(text.endswith("Africa/Nairobi\n") for text in place.units().values())


def test_one_broken_build_does_not_stop_the_others(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "bad", "z"):
        place.add(name, DAILY)
    spoil(place, "bad")
    place.in_zone("Africa/Nairobi")

    assert update(place.session, cc=False) == 1

    changed = [slug for slug, text in place.units().items() if text.endswith("Africa/Nairobi\n")]
    assert changed == ["a", "z"]
    assert "keiji task build bad" in capsys.readouterr().err


def test_a_broken_build_keeps_the_units_that_it_has(place: Place) -> None:
    place.add("bad", DAILY)
    before = place.units()
    spoil(place, "bad")
    place.in_zone("Africa/Nairobi")

    update(place.session, cc=False)

    assert place.units() == before


def test_a_timer_that_does_not_come_to_wait_is_named(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.add(schedule=DAILY)
    place.in_zone("Africa/Nairobi")
    place.host.deaf.add("ping")

    assert update(place.session, cc=False) == 1

    assert "'ping'" in capsys.readouterr().err
    assert place.is_marked()


@pytest.mark.parametrize("method", ["disarm", "reload", "arm"])
def test_an_update_that_the_manager_cut_short_is_brought_to_its_end_by_the_next(
    place: Place, method: str
) -> None:
    place.add(schedule=DAILY)
    place.in_zone("Africa/Nairobi")
    place.host.faults[method] = broken()
    with pytest.raises(HostFailed):
        update(place.session, cc=False)
    assert place.is_marked()

    assert update(place.session, cc=False) == 0

    assert (place.host.armed, place.is_marked()) == ({"ping"}, False)


def test_units_that_somebody_removed_are_written_again(place: Place) -> None:
    place.add()
    before = place.units()
    place.host.unit_files("ping")[0].unlink()

    assert update(place.session, cc=False) == 0

    assert place.units() == before


def test_keiji_s_own_units_are_installed_where_they_are_missing(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.host.remove_system()

    update(place.session, cc=False)

    assert "updated: 1 of keiji's own units" in capsys.readouterr().out


def test_a_bus_that_runs_is_ended_before_the_database_is_touched(
    place: Place, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place.host.start_bus()
    ran: list[bool] = []
    store = type(place.session).store
    monkeypatch.setattr(
        type(place.session), "store", lambda self: (ran.append(place.host.bus_runs), store(self))[1]
    )

    assert update(place.session, cc=False) == 0

    assert ran
    assert not any(ran)
    assert capsys.readouterr().out.startswith("bus has ended")


def test_a_bus_that_does_not_run_is_not_spoken_of(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.host.stop_bus(stay=True)

    update(place.session, cc=False)

    assert place.host.bus_stays_down
    assert not capsys.readouterr().out.startswith("bus")


def test_the_database_is_brought_up_to_date(place: Place) -> None:
    place.folders.database.unlink()

    update(place.session, cc=False)

    assert place.rows() == []


def test_another_environment_is_made_only_when_it_is_asked_for(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(module.environment, "ensure", lambda folders, note, anew: asked.append(anew))

    update(place.session, cc=False)
    update(place.session, cc=True)

    assert asked == [True]


def test_a_task_that_another_command_is_changing_is_named(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place.add()
    monkeypatch.setattr(module, "task_lock", partial(task_lock, patience=0))

    with task_lock(place.folders, "ping"):
        assert update(place.session, cc=False) == 1

    assert "being changed" in capsys.readouterr().err


def test_a_task_that_another_command_is_changing_is_left_alone(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.add()
    place.mark()
    monkeypatch.setattr(module, "task_lock", partial(task_lock, patience=0))

    with task_lock(place.folders, "ping"):
        update(place.session, cc=False)

    assert place.is_marked()
    assert place.host.reloads == 0


def test_tasks_are_locked_by_name_the_marked_ones_among_them(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a build of all does: two who lock in another order would wait for each other."""
    place.add("alpha")
    place.add("zeta")
    place.mark("beta")
    locked: list[str] = []

    def lock(folders: Folders, slug: str) -> AbstractContextManager[None]:
        locked.append(slug)
        return task_lock(folders, slug)

    monkeypatch.setattr(module, "task_lock", lock)
    update(place.session, cc=False)

    assert locked == ["alpha", "beta", "zeta"]


def test_an_edited_schedule_that_is_wrong_is_no_concern_of_an_update(place: Place) -> None:
    place.add()
    write_task(place.folders, schedule=SCHEDULE_HEAD + "    1/0\n")

    assert update(place.session, cc=False) == 0
