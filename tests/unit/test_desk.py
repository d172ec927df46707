"""The desk carries out directives, answers questions and delivers records, on the host in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from commanding import Place
from recording import an_entry, ended

from keiji import __version__
from keiji.bus.desk import Desk
from keiji.directives import Directive, Reply, Verb
from keiji.errors import InvalidName, NoSuchTask, TaskHeld
from keiji.testing import broken

SOON = 10.0  # seconds until a test gives up


class Reception:
    """A desk, what it answered, and what it logged."""

    def __init__(self, place: Place) -> None:
        self.logged: list[tuple[str, dict[str, Any]]] = []
        self.told: list[tuple[str, str]] = []
        self.desk = Desk(place.folders, place.host, self.log, lambda *it: self.told.append(it))

    def log(self, event: str, **fields: Any) -> None:
        self.logged.append((event, fields))

    def direct(self, verb: Verb, task: str = "ping") -> tuple[Reply | None, Exception | None]:
        return self._answer(lambda answer: self.desk.direct(lambda: Directive(verb, task), task, answer))

    def ask(self, question: Callable[[], Any]) -> tuple[Any, Exception | None]:
        return self._answer(lambda answer: self.desk.ask(question, answer))

    def _answer(self, request: Callable[[Any], None]) -> tuple[Any, Exception | None]:
        answers: list[tuple[Any, Exception | None]] = []
        request(lambda value, problem: answers.append((value, problem)))
        self.desk.lanes.wait()
        assert len(answers) == 1
        return answers[0]


@pytest.fixture
def reception(place: Place) -> Reception:
    return Reception(place)


def test_a_directive_is_carried_out_and_answered(place: Place, reception: Reception) -> None:
    place.add()

    reply, problem = reception.direct(Verb.DISABLE)

    assert problem is None
    assert reply.message == "ping: disabled; no further run until it is enabled"
    assert not place.host.is_enabled("ping")


def test_a_refusal_is_answered_as_an_error(place: Place, reception: Reception) -> None:
    place.add()
    place.hold()

    reply, problem = reception.direct(Verb.RUN)

    assert reply is None
    assert isinstance(problem, TaskHeld)


@pytest.mark.parametrize(
    ("task", "kind"), [("nope", NoSuchTask), ("", InvalidName), ("x" * 2**20, InvalidName)]
)
def test_what_is_no_task_is_refused_in_a_short_line(
    reception: Reception, task: str, kind: type[Exception]
) -> None:
    _, problem = reception.direct(Verb.STOP, task)

    assert isinstance(problem, kind)
    assert len(str(problem)) < 300
    assert all(len(str(fields)) < 1000 for _, fields in reception.logged)


def test_an_unexpected_fault_is_answered_and_logged(place: Place, reception: Reception) -> None:
    place.add()
    place.host.faults["set_enabled"] = ZeroDivisionError("by zero")

    _, problem = reception.direct(Verb.DISABLE)

    assert isinstance(problem, ZeroDivisionError)
    assert ("unexpected", {"level": "error", "error": "ZeroDivisionError: by zero"}) in reception.logged


def test_the_record_repeats_what_a_directive_changed(place: Place, reception: Reception) -> None:
    place.add()

    reception.direct(Verb.DISABLE)

    with place.session.store() as store:
        assert store.mend("ping", disabled=True, error=None) is False


def test_a_slow_directive_keeps_no_other_task_and_no_question_waiting(
    place: Place, reception: Reception, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.add("slow")
    place.add("quick")
    gate, begun, done = threading.Event(), threading.Event(), threading.Event()
    told = place.host.set_enabled

    def set_enabled(slug: str, enabled: bool) -> None:
        if slug == "slow":
            begun.set()
            gate.wait(SOON)
        told(slug, enabled)

    monkeypatch.setattr(place.host, "set_enabled", set_enabled)
    desk = reception.desk
    desk.direct(lambda: Directive(Verb.DISABLE, "slow"), "slow", lambda *_: None)
    assert begun.wait(SOON)

    desk.direct(lambda: Directive(Verb.DISABLE, "quick"), "quick", lambda *_: done.set())
    assert done.wait(SOON)
    done.clear()
    desk.ask(desk.records, lambda *_: done.set())
    assert done.wait(SOON)
    assert place.host.is_enabled("slow")

    gate.set()
    desk.lanes.wait()
    assert not place.host.is_enabled("slow")


def test_a_locked_database_keeps_the_next_directive_to_the_task_not_waiting(
    place: Place, reception: Reception, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.add()
    gate, begun, done = threading.Event(), threading.Event(), threading.Event()
    mended: list[str] = []

    def mend(slug: str) -> None:
        mended.append(slug)
        begun.set()
        gate.wait(SOON)

    desk = reception.desk
    monkeypatch.setattr(desk.dispatcher, "mend", mend)
    desk.direct(lambda: Directive(Verb.DISABLE, "ping"), "ping", lambda *_: None)
    assert begun.wait(SOON)

    for verb in (Verb.ENABLE, Verb.DISABLE, Verb.ENABLE):
        desk.direct(lambda verb=verb: Directive(verb, "ping"), "ping", lambda *_: None)
    desk.lanes.put("ping", done.set)
    assert done.wait(SOON)
    gate.set()
    desk.lanes.wait()

    assert mended == ["ping", "ping"]  # once more for all that came meanwhile


def test_directives_to_one_task_end_as_the_last_one_says(place: Place, reception: Reception) -> None:
    place.add()
    verbs = [Verb.DISABLE, Verb.ENABLE] * 20

    for verb in verbs:
        reception.desk.direct(lambda verb=verb: Directive(verb, "ping"), "ping", lambda *_: None)
    reception.desk.lanes.wait()

    assert place.host.is_enabled("ping")
    assert [fields["verb"] for event, fields in reception.logged if event == "directive"] == [
        *map(str, verbs)
    ]


def test_records_are_those_of_the_command_line_with_their_state(place: Place, reception: Reception) -> None:
    place.add("one")
    place.add("two")

    records, _ = reception.ask(reception.desk.records)

    assert [(record["name"], record["state"]) for record in records] == [("one", "armed"), ("two", "armed")]


def test_the_record_of_an_unknown_task_is_refused(reception: Reception) -> None:
    _, problem = reception.ask(lambda: reception.desk.record("nope"))

    assert isinstance(problem, NoSuchTask)


def test_it_says_its_version_and_home(place: Place, reception: Reception) -> None:
    assert reception.desk.version_and_home() == (__version__, str(place.folders.home))


def test_runs_that_ended_are_delivered(place: Place, reception: Reception) -> None:
    place.add()
    place.wait_for_delivery(ended(an_entry()))

    reception.desk.deliver_soon()
    reception.desk.lanes.wait()

    assert not list(place.folders.done.iterdir())
    with place.session.store() as store:
        assert len(store.runs("ping")) == 1


def test_a_database_that_is_away_is_logged_and_keeps_nothing_up(place: Place, reception: Reception) -> None:
    place.add()
    place.wait_for_delivery(ended(an_entry()))
    place.folders.database.rename(place.folders.database.with_suffix(".away"))

    reception.desk.deliver_soon()
    reception.desk.lanes.wait()

    assert [event for event, _ in reception.logged] == ["not followed"]
    assert len(list(place.folders.done.iterdir())) == 1


def test_a_state_is_told_once_and_only_when_it_is_another(place: Place, reception: Reception) -> None:
    place.add()
    reception.desk.learn_states()
    reception.desk.lanes.wait()
    reception.direct(Verb.DISABLE)

    for _ in range(3):
        reception.desk.look_again_at("ping")
        reception.desk.lanes.wait()

    assert reception.told == [("ping", "disabled")]


def test_a_manager_that_does_not_answer_is_made_up_for(place: Place, reception: Reception) -> None:
    place.add()
    reception.desk.learn_states()
    reception.desk.lanes.wait()
    reception.direct(Verb.DISABLE)
    whole = place.host.timers
    place.host.timers = lambda slugs: (_ for _ in ()).throw(broken())  # type: ignore[method-assign]
    reception.desk.look_again_at("ping")
    reception.desk.lanes.wait()
    assert reception.told == []

    place.host.timers = whole  # type: ignore[method-assign]
    reception.desk.look_again_at("other")
    reception.desk.lanes.wait()

    assert reception.told == [("ping", "disabled")]
