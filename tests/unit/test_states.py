"""What is true of a task is put together from unit files, run files and the manager."""

from __future__ import annotations

import pytest
from commanding import Place
from recording import an_entry

from keiji import states
from keiji.host import Timer
from keiji.states import State, word
from keiji.task import TaskState
from keiji.testing import NOON


def observed(place: Place) -> TaskState:
    return states.observe(place.folders, place.host, ["ping"])["ping"]


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (TaskState(), State.BUILT),
        (TaskState(is_armed=True), State.ARMED),
        (TaskState(is_disabled=True), State.DISABLED),
        (TaskState(is_held=True, is_disabled=True), State.HELD),
        (TaskState(is_queued=True, is_armed=True), State.QUEUED),
        (TaskState(running="r1", is_queued=True, is_held=True, is_disabled=True), State.RUNNING),
    ],
)
def test_the_word_is_the_one_that_says_most(state: TaskState, said: State) -> None:
    assert word(state) is said


def test_an_armed_task_waits_for_its_next_time(place: Place) -> None:
    place.add()

    assert observed(place) == TaskState(is_armed=True, next_execution=NOON)


def test_a_held_task_is_not_armed_whatever_its_timer_does(place: Place) -> None:
    """The latch is made before the timer is stopped."""
    place.add()
    place.hold(error="no")
    place.host.armed.add("ping")

    assert observed(place) == TaskState(is_held=True, error="no")


def test_held_and_disabled_are_independent(place: Place) -> None:
    place.add()
    place.hold()
    place.host.set_enabled("ping", False)

    state = observed(place)

    assert (state.is_held, state.is_disabled) == (True, True)


def test_a_run_in_progress_and_a_run_that_was_asked_for_are_told(place: Place) -> None:
    place.add()
    run = an_entry()
    place.begin(run)
    place.folders.requested("ping").touch()

    state = observed(place)

    assert (state.running, state.is_queued) == (run.id, True)


def test_a_task_that_the_manager_does_not_know_is_merely_built(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.add()
    monkeypatch.setattr(place.host, "timers", lambda slugs: {})

    assert word(observed(place)) is State.BUILT


def test_the_manager_is_asked_once_for_all(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def timers(slugs: list[str]) -> dict[str, Timer]:
        asked.append(slugs)
        return {}

    monkeypatch.setattr(place.host, "timers", timers)

    states.observe(place.folders, place.host, iter(["a", "b"]))

    assert asked == [["a", "b"]]
