"""Whatever a directive left whose process was killed, between any two steps, is put right by the next."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from commanding import Place
from directing import Faults, Killed, Reset, Stage, die, disagreements, result_of, stop_under_way

from keiji import lifecycle, marks, recovery, running
from keiji.commands.housekeeping import keep_house
from keiji.commands.update import update
from keiji.commands.verdict import judge
from keiji.directives import Verb
from keiji.errors import HostFailed, KeijiError, NoSuchTask, StoreUnavailable, TaskNotBuilt
from keiji.host import Ending
from keiji.lifecycle import Life
from keiji.run import Result
from keiji.testing import broken

ARMED = Life(True, True, is_enabled=True, is_started=True)
RUNNING = replace(ARMED, is_running=True)
HELD = replace(ARMED, is_held=True)
DISABLED = replace(ARMED, is_enabled=False)
# Each verb changes something in one of these at least.
TRIED = [
    ARMED,
    RUNNING,
    HELD,
    DISABLED,
    replace(RUNNING, is_started=False),
    replace(RUNNING, is_enabled=False),
]
CASES = [
    (life, verb)
    for life in TRIED
    for verb in Verb
    if not lifecycle.refusal(life, verb) and (verb is not Verb.RESOLVE or life.is_held)
]


BY_KILL = {"result": "signal", "by_signal": True, "status": 9}


def directing(verb: Verb) -> Callable[[Stage], None]:
    def send(stage: Stage) -> None:
        with suppress(KeijiError):  # refused or not
            stage.send(verb)

    return send


def updating(stage: Stage) -> None:
    assert update(stage.place.session, cc=False) == 0


def keeping_house(stage: Stage) -> None:
    keep_house(stage.place.session)


NEXT = {str(verb): directing(verb) for verb in (Verb.STOP, Verb.RUN, Verb.DELETE)} | {
    "update": updating,
    "housekeeping": keeping_house,
}


def kills(stage: Stage, verb: Verb) -> Iterator[tuple[int, str]]:
    """Have the directive killed at its nth step, for each n until it gets through; number and name of it."""
    reset, faults = Reset(stage), Faults(stage)
    for n in itertools.count(1):
        reset()
        if not is_killed(faults, n, lambda: stage.send(verb)):
            return
        yield n, faults.where


def is_killed(faults: Faults, n: int, work: Callable[[], object], failing: int = 0) -> bool:
    """Whether the work was killed at its nth step, and had not ended before."""
    try:
        with faults.at_step(failing, killing=n):
            work()
    except Killed:
        return True
    except KeijiError:
        pass
    return False


# between any two steps


@pytest.mark.parametrize("following", NEXT)
@pytest.mark.parametrize(("life", "verb"), CASES, ids=lambda value: str(getattr(value, "state", value)))
def test_whatever_comes_next_brings_all_into_agreement(
    place: Place, life: Life, verb: Verb, following: str
) -> None:
    stage = Stage(place, life)
    for step in kills(stage, verb):
        run = running.running_entry(place.folders, "ping")
        was_stopped = run is not None and not place.host.ending("ping").is_active

        NEXT[following](stage)

        assert disagreements(stage) == [], step
        if run and was_stopped and stage.life().is_built:
            assert result_of(stage, run.id) is Result.STOPPED, step
            assert not stage.life().is_held or life.is_held, step
        if run and stage.host.ending("ping") == Ending(is_active=True, run=run.id):
            die(stage.host, **BY_KILL)
            judge(place.folders, place.host, "ping")
            assert result_of(stage, run.id) is Result.KILLED, step


@pytest.mark.parametrize(
    ("life", "verb"),
    [(RUNNING, Verb.DELETE), (RUNNING, Verb.DISABLE), (ARMED, Verb.RESTART), (HELD, Verb.RESOLVE)],
    ids=lambda value: str(getattr(value, "state", value)),
)
def test_a_build_brings_all_into_agreement(place: Place, life: Life, verb: Verb) -> None:
    place.write()
    stage = Stage(place, life)
    for step in kills(stage, verb):
        gone = marks.why(place.folders, "ping") == Verb.DELETE

        assert place.build() == 0

        assert disagreements(stage) == [], step
        assert stage.life().is_built
        if gone:
            assert stage.life() == ARMED, step


@pytest.mark.parametrize("verb", [Verb.DELETE, Verb.RESTART, Verb.DISABLE])
def test_who_is_killed_while_it_brings_all_into_agreement_leaves_it_to_the_next(
    place: Place, verb: Verb
) -> None:
    stage = Stage(place, RUNNING)
    for step in kills(stage, verb):
        again, faults = Reset(stage), Faults(stage)
        for n in itertools.count(1):
            again()
            if not is_killed(faults, n, lambda: directing(Verb.RESOLVE)(stage)):
                break
            directing(Verb.ENABLE)(stage)
            assert disagreements(stage) == [], (step, n, faults.where)


@pytest.mark.parametrize(
    ("life", "verb"),
    [(RUNNING, verb) for verb in Verb if verb not in (Verb.RUN, Verb.RESOLVE)] + [(HELD, Verb.RESOLVE)],
    ids=lambda value: str(getattr(value, "state", value)),
)
def test_who_fails_and_is_killed_while_it_puts_things_back_leaves_it_to_the_next(
    place: Place, life: Life, verb: Verb
) -> None:
    stage = Stage(place, life)
    reset, faults = Reset(stage), Faults(stage)
    for failing, later in itertools.product(range(1, 12), range(1, 8)):
        reset()
        if is_killed(faults, failing + later, lambda: stage.send(verb), failing):
            directing(Verb.ENABLE)(stage)
            if failing == 1:  # the mark, without which some go on: the hour brings what it would have told
                keeping_house(stage)
            assert disagreements(stage) == [], (failing, later, faults.where)


# what of a stop is left


def test_a_run_that_is_being_stopped_is_stopped_whoever_judges_it(place: Place) -> None:
    stage = Stage(place, RUNNING)
    run = cut_short(stage, at="stop_run")
    stop_under_way(place.host)

    stage.send(Verb.ENABLE)

    assert disagreements(stage) == []
    die(place.host, result="timeout", by_signal=True, status=9)  # it is deaf, and the manager loses patience
    judge(place.folders, place.host, "ping")
    assert result_of(stage, run) is Result.STOPPED
    assert stage.life() == ARMED


@pytest.mark.parametrize(
    ("how", "result"),
    [
        ({"result": "signal", "by_signal": True, "status": 9}, Result.KILLED),
        ({"result": "oom-kill", "by_signal": True, "status": 9}, Result.KILLED),
        ({"result": "timeout", "by_signal": True, "status": 9}, Result.STOPPED),
        ({"result": "success", "by_signal": True, "status": 15}, Result.STOPPED),
    ],
)
def test_an_intent_without_its_author_does_not_make_a_kill_a_stop(
    place: Place, how: dict[str, Any], result: Result
) -> None:
    stage = Stage(place, RUNNING)
    run = cut_short(stage, at="stop_run")

    die(place.host, **how)
    judge(place.folders, place.host, "ping")

    assert result_of(stage, run) is result
    assert stage.life().is_held is (result is Result.KILLED)


@pytest.mark.parametrize("status", [9, 15])
@pytest.mark.parametrize("comes_first", ["the handler", "a directive"])
def test_a_run_that_was_stopped_before_it_began_is_stopped(
    place: Place, status: int, comes_first: str
) -> None:
    stage = Stage(place, ARMED)
    place.host.begin = lambda slug, run: None
    run = stage.send(Verb.RUN).run
    cut_short(stage, at="stop_run")
    result = "success" if status == 15 else "timeout"
    die(place.host, result=result, by_signal=True, status=status)

    if comes_first == "the handler":
        judge(place.folders, place.host, "ping")
    stage.send(Verb.ENABLE)

    assert result_of(stage, run) is Result.STOPPED
    assert (stage.life(), disagreements(stage)) == (ARMED, [])


def test_a_run_that_ended_by_itself_is_not_said_to_be_stopped(place: Place) -> None:
    stage = Stage(place, RUNNING)
    run = cut_short(stage, at="stop_run")
    running.end_run(place.folders, "ping", run, Result.SUCCEEDED)
    die(place.host)

    stage.send(Verb.ENABLE)

    assert result_of(stage, run) is Result.SUCCEEDED
    assert disagreements(stage) == []


def test_a_request_that_a_run_is_about_to_take_is_left_to_it(place: Place) -> None:
    stage = Stage(place, ARMED)
    place.host.begin = lambda slug, run: place.folders.requested(slug).touch()
    stage.send(Verb.RUN)
    marks.mark(place.folders, "ping", Verb.RUN)

    stage.send(Verb.ENABLE)

    assert place.folders.requested("ping").exists()


def cut_short(stage: Stage, at: str, verb: Verb = Verb.STOP) -> str:
    """Have the directive killed at the step of that name; the run in progress."""
    run = stage.host.ending("ping").run
    with Faults(stage).at_step(of_name=at), pytest.raises(Killed):
        stage.send(verb)
    return run


# how a half-done deletion is told


@pytest.mark.parametrize(("has_source", "refused"), [(True, TaskNotBuilt), (False, NoSuchTask)])
def test_a_deletion_that_was_begun_is_finished_and_the_task_is_gone(
    place: Place, has_source: bool, refused: type[KeijiError]
) -> None:
    stage = Stage(place, replace(ARMED, has_source=has_source))
    cut_short(stage, "disarm", Verb.DELETE)

    with pytest.raises(refused):
        stage.send(Verb.STOP)

    assert disagreements(stage) == []


def test_a_delete_that_is_given_again_is_done(place: Place) -> None:
    stage = Stage(place, ARMED)
    cut_short(stage, "disarm", Verb.DELETE)

    assert "ping: deleted" in stage.send(Verb.DELETE).message

    assert disagreements(stage) == []


def test_an_update_does_not_render_a_half_deleted_task_anew(place: Place) -> None:
    stage = Stage(place, ARMED)
    cut_short(stage, "reload", Verb.DELETE)

    assert update(place.session, cc=False) == 0

    assert (place.units(), place.rows(), place.builds()) == ({}, [], {})


def test_an_update_clears_what_is_left_of_a_task_whose_record_is_gone(place: Place) -> None:
    stage = Stage(place, ARMED)
    cut_short(stage, "forget", Verb.DELETE)

    assert update(place.session, cc=False) == 0

    assert disagreements(stage) == []


def test_a_deletion_that_failed_is_not_finished_by_the_next(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when the manager went away for good, so that not all could be put back."""
    stage = Stage(place, ARMED)

    def fail() -> None:
        raise broken()

    with monkeypatch.context() as manager:
        manager.setattr(place.host, "reload", fail)
        with pytest.raises(HostFailed):
            stage.send(Verb.DELETE)

    stage.send(Verb.STOP)

    assert (stage.life(), disagreements(stage)) == (ARMED, [])


def test_a_deletion_waits_for_the_database(place: Place) -> None:
    stage = Stage(place, RUNNING)
    cut_short(stage, "disarm", Verb.DELETE)

    with place.locked_database(), pytest.raises(StoreUnavailable):
        stage.send(Verb.STOP)

    assert place.is_marked()
    assert (place.host.armed, stage.life().is_running) == (set(), False)
    with pytest.raises(TaskNotBuilt):
        stage.send(Verb.STOP)


@pytest.mark.parametrize("name", ["stale", "held"])
@pytest.mark.parametrize("verb", [Verb.STOP, Verb.RESOLVE, Verb.DELETE])
def test_garbage_that_a_power_cut_left_keeps_no_directive_from_its_task(
    place: Place, name: str, verb: Verb
) -> None:
    stage = Stage(place, HELD)
    (place.folders.run / name / "ping").write_bytes(b"\xff\xfe\0garbage")

    stage.send(verb)

    assert disagreements(stage) == []


def test_garbage_in_the_place_of_an_intent_is_cleared_up(place: Place) -> None:
    stage = Stage(place, ARMED)
    place.folders.stopping("ping").write_bytes(b"\xff\xfe\0garbage")

    keep_house(place.session)

    assert disagreements(stage) == []


# what it costs, and what it leaves alone


def test_without_a_mark_nothing_is_asked_and_nothing_is_done(place: Place) -> None:
    assert recovery.recover(place.folders, None, "ping", None) is False  # type: ignore[arg-type]


def test_a_build_that_was_cut_short_is_brought_to_its_end_by_a_directive(place: Place) -> None:
    stage = Stage(place, ARMED)
    place.mark()
    reloads = place.host.reloads

    stage.send(Verb.STOP)

    assert place.host.reloads == reloads + 1
    assert (place.is_marked(), stage.life()) == (False, ARMED)


def test_builds_and_updates_bring_what_they_have_begun_to_its_end_by_themselves(place: Place) -> None:
    place.add()
    place.mark()

    recovery.finish_directive(place.folders, place.host, "ping", place.session.store)

    assert (place.is_marked(), place.host.reloads) == (True, 0)


def test_the_mark_of_a_first_build_stays_for_the_next(place: Place) -> None:
    """Its unit files are not there: there is nothing to arm."""
    stage = Stage(place, Life(has_source=True, is_started=True))
    place.mark()

    with pytest.raises(TaskNotBuilt):
        stage.send(Verb.ENABLE)

    assert (place.is_marked(), place.host.armed) == (True, set())


def test_a_timer_that_does_not_come_to_wait_keeps_no_directive_from_its_task(place: Place) -> None:
    stage = Stage(place, RUNNING)
    place.host.deaf.add("ping")
    marks.mark(place.folders, "ping", Verb.ENABLE)

    stage.send(Verb.DISABLE)

    assert (stage.life(), place.is_marked()) == (DISABLED, False)


def test_what_was_due_since_a_directive_was_cut_short_is_caught_up(place: Place) -> None:
    stage = Stage(place, ARMED)
    cut_short(stage, "arm", Verb.RESTART)
    began = marks.since(place.folders, "ping")
    told: list[Any] = []
    arm = place.host.arm
    place.host.arm = lambda slugs, rested=None: told.append(rested) or arm(slugs, rested)  # type: ignore

    stage.send(Verb.STOP)

    assert told == [{"ping": began}]


def test_a_manager_that_does_not_answer_leaves_the_mark(place: Place) -> None:
    stage = Stage(place, ARMED)
    cut_short(stage, "arm", Verb.RESTART)
    place.host.faults["reload"] = broken()

    with pytest.raises(KeijiError):
        stage.send(Verb.STOP)

    assert place.is_marked()
    stage.send(Verb.STOP)
    assert disagreements(stage) == []
