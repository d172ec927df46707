"""The live table, told by a watcher that the test moves."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from commanding import HastySession, Place
from recording import an_entry, ended, run_python

from keiji.commands import watching
from keiji.errors import BusUnavailable, HostFailed
from keiji.testing import broken

Out = pytest.CaptureFixture[str]


@dataclass(frozen=True)
class WatchedSession(HastySession):
    """A session in which each wait of the watcher does the next step of the test; the last is Ctrl-C."""

    steps: list[Callable[[], object]] = field(default_factory=list)
    woken: list[bool] = field(default_factory=list)

    def watcher(self) -> WatchedSession:
        return self

    def wait(self) -> None:
        if not self.steps:
            raise KeyboardInterrupt
        self.steps.pop(0)()

    def wake(self) -> None:
        self.woken.append(True)


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for pause in ("_PACE", "_AGAIN"):
        monkeypatch.setattr(watching, pause, 0)
    return None


def watch(place: Place, *steps: Callable[[], object], as_json: bool = False) -> WatchedSession:
    """Watch while the steps are done, until Ctrl-C."""
    session = WatchedSession(
        place.folders, place.session.settings, place.host, place.session.bus, steps=[*steps]
    )
    with pytest.raises(KeyboardInterrupt):
        watching.watch(session, as_json)
    return session


def test_the_table_is_printed_at_once_and_anew_each_time(place: Place, capsys: Out) -> None:
    place.add()

    watch(place, place.hold, lambda: None)

    first, second, third = capsys.readouterr().out.split("\n\n")
    assert [line.split()[0] for line in first.splitlines()] == ["As", "NAME", "ping"]
    assert first.splitlines()[2].split()[1] == "armed"
    assert second.splitlines()[2].split()[1] == third.splitlines()[2].split()[1] == "held"


def test_ages_are_reckoned_from_the_time_in_the_head(place: Place, capsys: Out, monkeypatch) -> None:
    place.add()
    place.in_zone("Africa/Nairobi")
    run = ended(an_entry())
    place.wait_for_delivery(run)

    class Clock:
        @staticmethod
        def now(zone: object) -> object:
            return run.ended.replace(minute=11) if run.ended else None

    monkeypatch.setattr(watching, "datetime", Clock)
    watch(place)

    head, _, row = capsys.readouterr().out.splitlines()
    assert head == "As of 2026-11-23 15:11:01 EAT"
    assert "10min ago" in row


def test_what_is_to_be_noted_stands_below_the_table(place: Place, capsys: Out) -> None:
    watch(place)

    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.splitlines()[1].startswith("note: there is no task yet")


def test_json_is_a_line_for_each_task_that_is_another_than_before(place: Place, capsys: Out) -> None:
    place.add("a")
    place.add("b")

    def delete() -> None:
        with place.session.store() as store:
            store.delete_task("a")

    watch(place, lambda: place.hold("b"), lambda: None, delete, as_json=True)

    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(entry["slug"], entry["state"]) for entry in said] == [
        ("a", "armed"),
        ("b", "armed"),
        ("b", "held"),
        ("a", "deleted"),
    ]
    assert said[0]["next_execution_time"]
    assert "last_run" in said[0]


def test_a_look_that_fails_is_told_once_and_tried_again(place: Place, capsys: Out, monkeypatch) -> None:
    place.add()

    def fail(slugs: object) -> None:
        raise broken("no answer")

    def break_manager() -> None:
        monkeypatch.setattr(place.host, "timers", fail)

    mended = lambda: (monkeypatch.undo(), place.hold())  # noqa: E731
    session = watch(place, break_manager, lambda: None, mended)

    said = capsys.readouterr()
    assert said.err == "keiji: no answer\n"  # once, though it was tried again
    assert session.woken == [True, True]  # for nobody tells when a look would do again
    assert "held" in said.out.split("\n\n")[1]


def test_a_first_look_that_fails_ends_it(place: Place, monkeypatch) -> None:
    place.add()

    def fail(slugs: object) -> None:
        raise broken()

    monkeypatch.setattr(place.host, "timers", fail)
    with pytest.raises(HostFailed):
        watching.watch(
            WatchedSession(place.folders, place.session.settings, place.host, place.session.bus), False
        )


@pytest.mark.parametrize("problem", [BusUnavailable("stopped"), BrokenPipeError()])
def test_a_bus_that_is_gone_or_a_reader_that_left_ends_it(place: Place, problem: Exception) -> None:
    def end() -> None:
        raise problem

    session = WatchedSession(
        place.folders, place.session.settings, place.host, place.session.bus, steps=[end]
    )
    with pytest.raises(type(problem)):
        watching.watch(session, False)


# the terminal


def test_a_frame_begins_at_home_and_clears_what_it_does_not_write() -> None:
    assert watching.frame(["a", "b"], 80, 24) == "\x1b[H\x1b[Ka\n\x1b[Kb\n\x1b[J"


@pytest.mark.parametrize(
    ("rows", "shown"),
    [
        (6, list("abcde")),
        (5, ["a", "b", "c", "... 2 more"]),
        (3, ["a", "... 4 more"]),
        (1, ["a", "... 4 more"]),
    ],
)
def test_lines_that_find_no_room_are_counted(rows: int, shown: list[str]) -> None:
    text = watching.frame(list("abcde"), 80, rows)

    assert text.removeprefix("\x1b[H").removesuffix("\n\x1b[J").replace("\x1b[K", "").split("\n") == shown


def test_a_line_is_cut_at_the_terminals_width() -> None:
    assert "abcd\n" in watching.frame(["abcdef"], 4, 24)


def test_a_terminal_is_drawn_upon_and_left_on_a_new_line(place: Place, capsys: Out, monkeypatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setattr(watching, "_size", lambda: (40, 6))
    monkeypatch.setenv("TERM", "xterm")
    place.add()

    watch(place, place.hold)

    blank, first, second = capsys.readouterr().out.split("\x1b[H")
    assert blank == "\n" * 6
    assert "armed" in first
    assert "held" in second
    assert second.endswith("\x1b[J\n\x1b[J")
    assert max(map(len, second.replace("\x1b[K", "").splitlines())) <= 40


def test_a_terminal_that_moves_no_cursor_has_the_tables(place: Place, capsys: Out, monkeypatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "dumb")
    place.add()

    watch(place, place.hold)

    printed = capsys.readouterr().out
    assert "\x1b" not in printed
    assert printed.count("NAME") == 2


def test_a_closed_output_is_one_whose_reader_has_left(place: Place, monkeypatch) -> None:
    monkeypatch.setattr("sys.stdout", None)

    with pytest.raises(BrokenPipeError):
        watching.watch(place.session, False)


def test_a_terminal_that_does_not_know_its_size_has_the_usual_one(monkeypatch) -> None:
    monkeypatch.setattr(watching.os, "get_terminal_size", lambda number: os.terminal_size((0, 0)))
    monkeypatch.setattr("sys.stdout.fileno", lambda: 1, raising=False)

    assert watching._size() == (80, 24)


def test_nothing_of_glib_is_loaded_for_a_mere_list() -> None:
    code = "import sys\nfrom keiji.commands import listing, watching\nprint('gi' in sys.modules)"

    assert run_python(code) == "False\n"
