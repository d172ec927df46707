"""The manager follows the unit files; what was cut short is told by a mark."""

from __future__ import annotations

import stat
import time
from pathlib import Path

import pytest
from commanding import Place

from keiji import arming
from keiji.errors import HostFailed
from keiji.testing import broken


@pytest.fixture
def unit(place: Place) -> Path:
    (path,) = place.host.unit_files("ping")
    return path


# writing


def test_what_was_there_before_is_told(place: Place, unit: Path) -> None:
    new = unit.with_name("new")
    unit.write_text("old")

    was = arming.write_units(place.folders, "ping", {unit: "text", new: "text"})

    assert was == {unit: "old", new: None}
    assert unit.read_text() == new.read_text() == "text"


def test_files_that_say_the_same_are_left_alone_and_not_marked(place: Place, unit: Path) -> None:
    unit.write_text("text")
    before = unit.stat().st_ino

    assert arming.write_units(place.folders, "ping", {unit: "text"}) == {}

    assert unit.stat().st_ino == before
    assert not place.is_marked()


def test_the_mark_is_there_before_the_first_file_is(
    place: Place, unit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marked: list[bool] = []
    write = arming.files.write

    def watched(path: Path, text: str, mode: int = 0o600) -> None:
        if path == unit:
            marked.append(place.is_marked())
        write(path, text, mode)

    monkeypatch.setattr(arming.files, "write", watched)
    arming.write_units(place.folders, "ping", {unit: "text"})

    assert marked == [True]


def test_anyone_may_read_a_unit_and_its_folder_is_made(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "config" / "systemd" / "user" / "keiji-ping.timer"
    arming.write_units(place.folders, "ping", {path: "text"})

    assert stat.S_IMODE(path.stat().st_mode) == 0o644


# bringing up


def test_tasks_that_wait_and_have_not_changed_are_left_alone(place: Place) -> None:
    place.add()

    assert arming.bring_up(place.folders, place.host, ["ping"]) == []

    assert place.host.reloads == 0


def test_a_changed_timer_does_not_wait_while_the_manager_reads_it(place: Place) -> None:
    """It may find a time of its new schedule in the past and fire at once."""
    place.add()
    place.mark()
    armed: list[set[str]] = []
    place.host.reload = lambda: armed.append({*place.host.armed})  # type: ignore[method-assign]

    arming.bring_up(place.folders, place.host, ["ping"])

    assert armed == [set()]
    assert place.host.armed == {"ping"}


def test_what_is_due_while_a_changed_timer_rests_is_caught_up(place: Place) -> None:
    place.add()
    place.mark()
    told: list[object] = []
    arm = place.host.arm
    place.host.arm = lambda slugs, rested=None: told.append(rested) or arm(slugs, rested)  # type: ignore
    before = time.time()

    arming.bring_up(place.folders, place.host, ["ping"])

    ((_, since),) = told[0].items()  # type: ignore[attr-defined]
    assert before <= since <= time.time()


def test_a_timer_that_did_not_wait_before_has_nothing_to_catch_up(place: Place) -> None:
    place.add()
    place.mark()
    place.host.armed.clear()
    told: list[object] = []
    arm = place.host.arm
    place.host.arm = lambda slugs, rested=None: told.append(rested) or arm(slugs, rested)  # type: ignore

    arming.bring_up(place.folders, place.host, ["ping"])

    assert told == [{}]


def test_a_task_that_the_manager_never_loaded_needs_no_reload(place: Place) -> None:
    place.add()
    place.mark()

    arming.bring_up(place.folders, place.host, ["ping"], new=["ping"])

    assert (place.host.reloads, place.is_marked()) == (0, False)


def test_the_mark_of_a_timer_that_does_not_come_to_wait_stays(place: Place) -> None:
    place.add()
    place.mark()
    place.host.deaf.add("ping")

    assert arming.bring_up(place.folders, place.host, ["ping"]) == ["ping"]

    assert place.is_marked()


@pytest.mark.parametrize("method", ["disarm", "reload", "arm"])
def test_the_mark_stays_while_the_manager_does_not_answer(place: Place, method: str) -> None:
    place.add()
    place.mark()
    place.host.faults[method] = broken()

    with pytest.raises(HostFailed):
        arming.bring_up(place.folders, place.host, ["ping"])

    assert place.is_marked()


def test_while_the_system_is_stopped_nothing_is_armed_but_all_is_read(place: Place) -> None:
    place.host.stop_system()
    place.add()
    place.mark()

    assert arming.bring_up(place.folders, place.host, ["ping"]) == []

    assert (place.host.armed, place.host.reloads, place.is_marked()) == (set(), 1, False)


def test_a_disabled_and_a_held_task_are_not_due(place: Place) -> None:
    for name in ("held", "disabled", "ping"):
        place.add(name)
    place.host.set_enabled("disabled", False)
    place.hold("held")
    place.host.armed.clear()

    arming.bring_up(place.folders, place.host, ["held", "disabled", "ping"])

    assert place.host.armed == {"ping"}


def test_a_task_that_is_held_while_it_is_armed_has_not_failed_to_wait(place: Place) -> None:
    place.add()
    place.host.armed.clear()
    arm = place.host.arm

    def held_meanwhile(slugs: object, rested: object = None) -> list[str]:
        place.hold()
        return arm(slugs, rested)  # type: ignore[arg-type]

    place.host.arm = held_meanwhile  # type: ignore[method-assign,assignment]

    assert arming.bring_up(place.folders, place.host, ["ping"]) == []
