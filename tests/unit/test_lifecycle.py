"""The state machine of a task: its words, what follows each directive, and the README's table."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from keiji.directives import Verb
from keiji.errors import NoSuchTask, TaskBusy, TaskHeld, TaskNotBuilt
from keiji.lifecycle import Life, State, follow, refusal

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")

CREATED = Life(has_source=True, is_started=True)
BUILT = Life(has_source=True, is_built=True, is_enabled=True)
ARMED = Life(has_source=True, is_built=True, is_enabled=True, is_started=True)
QUEUED = Life(has_source=True, is_built=True, is_enabled=True, is_started=True, is_queued=True)
RUNNING = Life(has_source=True, is_built=True, is_enabled=True, is_started=True, is_running=True)
DISABLED = Life(has_source=True, is_built=True, is_started=True)
HELD = Life(has_source=True, is_built=True, is_enabled=True, is_started=True, is_held=True)
DELETED = Life(is_started=True)
EACH = [CREATED, BUILT, ARMED, QUEUED, RUNNING, DISABLED, HELD, DELETED]
ALL = [Life(*values) for values in itertools.product((False, True), repeat=7)]


def table() -> str:
    """The README's table of what each directive makes of a task."""
    lines = [f"| a task is | {' | '.join(f'`{verb}`' for verb in Verb)} | – is |"]
    lines.append("| --- |" + " --- |" * len(Verb) + " --- |")
    for life in EACH:
        refused = {found.__name__ for verb in Verb if (found := refusal(life, verb))}
        cells = [str(life.state), *(cell(life, verb) for verb in Verb), ", ".join(sorted(refused))]
        lines.append(f"| {' | '.join(cells)} |".replace("|  |", "| |"))
    return "\n".join(lines)


def cell(life: Life, verb: Verb) -> str:
    if refusal(life, verb):
        return "–"
    then = follow(life, verb)
    return "·" if then == life else str(then.state)


def test_each_state_has_its_word() -> None:
    assert [life.state for life in EACH] == [*State]


def test_the_readme_has_the_table_that_the_code_says() -> None:
    assert table() in README, f"README.md needs this table:\n{table()}"


def test_the_readme_tells_of_each_state_when_it_is_and_how_it_is_left() -> None:
    rows = README.partition("| a task is | when | and leaves it by |\n| --- | --- | --- |\n")[2]
    told = [row.split(" | ")[0].removeprefix("| ") for row in rows.partition("\n\n")[0].splitlines()]

    assert told == [str(state) for state in State if state is not State.DELETED]


@pytest.mark.parametrize(
    ("life", "said"),
    [
        (Life(True, True, is_held=True), State.HELD),
        (Life(True, True, is_held=True, is_running=True), State.RUNNING),
        (Life(True, True, is_queued=True, is_running=True), State.RUNNING),
        (Life(True, True, is_running=True), State.RUNNING),
        (Life(True, True, is_enabled=True, is_held=True), State.HELD),
    ],
)
def test_the_word_of_several_is_the_one_that_says_most(life: Life, said: State) -> None:
    assert life.state is said


@pytest.mark.parametrize("life", ALL)
def test_a_task_is_armed_when_it_is_enabled_and_not_held_and_the_system_is_started(life: Life) -> None:
    wanted = (life.is_built, life.is_enabled, not life.is_held, life.is_started)

    assert life.is_armed is all(wanted)


@pytest.mark.parametrize("verb", list(Verb))
def test_what_was_never_built_takes_no_directive(verb: Verb) -> None:
    assert refusal(CREATED, verb) is TaskNotBuilt
    assert refusal(DELETED, verb) is NoSuchTask


@pytest.mark.parametrize("life", [life for life in ALL if life.is_built])
def test_only_run_is_refused_and_a_hold_is_told_before_a_run(life: Life) -> None:
    expected = TaskHeld if life.is_held else TaskBusy if life.is_running or life.is_queued else None

    assert refusal(life, Verb.RUN) is expected
    assert {refusal(life, verb) for verb in Verb if verb is not Verb.RUN} == {None}


@pytest.mark.parametrize("life", [life for life in ALL if life.is_built])
def test_held_and_disabled_are_independent(life: Life) -> None:
    assert follow(life, Verb.ENABLE).is_held is follow(life, Verb.DISABLE).is_held is life.is_held
    assert follow(life, Verb.RESOLVE).is_enabled is life.is_enabled


def test_who_disables_the_task_from_inside_its_run_goes_on() -> None:
    assert follow(RUNNING, Verb.DISABLE, is_inside=True).is_running
    assert not follow(RUNNING, Verb.DISABLE).is_running


@pytest.mark.parametrize("verb", [Verb.STOP, Verb.RESTART, Verb.DELETE])
def test_who_stops_the_run_from_inside_ends_it(verb: Verb) -> None:
    assert not follow(RUNNING, verb, is_inside=True).is_running
