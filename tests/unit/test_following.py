"""Runs and states followed by the run files."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from looping import turn_until
from recording import a_run, an_entry, begin, ended, finish, leave, new_home

from keiji import files, latches, marks
from keiji.bus.following import Following
from keiji.errors import StoreUnavailable
from keiji.folders import Folders
from keiji.run import Result, Run
from keiji.runfile import render
from keiji.running import end_run


class SilentUnits:
    """A manager that tells what the test has it tell."""

    def start(self, changed: Callable[[str], None]) -> None:
        self.tell = changed

    def stop(self) -> None:
        self.tell = lambda slug: None


class Followed:
    """A home that is followed, and what was told of it."""

    def __init__(self, folders: Folders) -> None:
        self.folders = folders
        self.finished: list[tuple[str, str, str]] = []
        self.changed: list[str] = []
        self.recorded: dict[str, Run] = {}
        self.units = SilentUnits()
        self.following = Following(
            folders,
            self.units,
            self.changed.append,
            lambda *run: self.finished.append(run),
            self.find_run,
        )

    def find_run(self, run: str) -> Run | None:
        return self.recorded.get(run)

    def wait_for_change(self, slug: str = "ping") -> None:
        turn_until(lambda: slug in self.changed, f"a change of {slug}")
        self.changed.clear()

    def wait_for_end(self, number: int = 1) -> None:
        turn_until(lambda: number in self.ended(), f"the end of run {number}")

    def ended(self) -> list[int]:
        """The numbers of the runs that were told, in order."""
        return [int(run, 16) for _, run, _ in self.finished]


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    folders = new_home(tmp_path)
    folders.tasks.mkdir()
    return folders


@pytest.fixture
def followed(folders: Folders) -> Iterator[Followed]:
    followed = Followed(folders)
    followed.following.start()
    yield followed
    followed.following.stop()


# the ends of runs


def test_a_run_that_ends_is_told_with_its_result(followed):
    begin(followed.folders, an_entry())
    finish(followed.folders, an_entry(), Result.FAILED)

    followed.wait_for_end()

    assert followed.finished == [("ping", an_entry().id, "failed")]


def test_a_run_that_is_ended_in_its_name_is_told(followed):
    begin(followed.folders, an_entry())
    end_run(followed.folders, "ping", an_entry().id, Result.KILLED)

    followed.wait_for_end()

    assert followed.finished == [("ping", an_entry().id, "killed")]


def test_a_run_is_told_once_however_often_its_end_is_written(followed):
    for _ in range(3):
        leave(followed.folders, 1)
        files.write(followed.folders.done / an_entry().id, render(ended(an_entry())))
    leave(followed.folders, 2)

    followed.wait_for_end(2)

    assert followed.ended() == [1, 2]


def test_a_run_that_was_delivered_before_it_was_read_is_looked_up(followed):
    followed.recorded[a_run(1).id] = a_run(1, result=Result.TIMED_OUT)
    leave(followed.folders, 1)
    (followed.folders.done / a_run(1).id).unlink()

    followed.wait_for_end()

    assert followed.finished == [("ping", a_run(1).id, "timed-out")]


def test_a_run_that_nobody_knows_any_more_is_passed_over(followed):
    leave(followed.folders, 1)
    (followed.folders.done / a_run(1).id).unlink()
    followed.recorded[a_run(2).id] = a_run(2)
    leave(followed.folders, 2)
    (followed.folders.done / a_run(2).id).unlink()

    followed.wait_for_end(2)

    assert followed.ended() == [2]


def test_a_database_that_is_away_does_not_end_the_looking_up(followed, monkeypatch):
    def fail(run: str) -> Run | None:
        if run == a_run(1).id:
            raise StoreUnavailable
        return a_run(2)

    monkeypatch.setattr(followed.following, "_find_run", fail)
    for number in (1, 2):
        leave(followed.folders, number)
        (followed.folders.done / a_run(number).id).unlink()

    followed.wait_for_end(2)

    assert followed.ended() == [2]


def test_what_had_ended_before_is_not_told(folders):
    leave(folders, 1)
    followed = Followed(folders)
    followed.following.start()
    leave(folders, 2)

    followed.wait_for_end(2)
    (folders.done / a_run(1).id).unlink()
    leave(folders, 3)
    followed.wait_for_end(3)

    followed.following.stop()
    assert followed.ended() == [2, 3]


def test_what_ends_after_the_start_is_told_even_if_the_loop_turns_later(folders):
    followed = Followed(folders)
    followed.following.start()
    begin(folders, an_entry())
    finish(folders, an_entry())

    followed.wait_for_end()

    followed.following.stop()
    assert followed.ended() == [1]


@pytest.mark.parametrize(
    "text",
    ["", "keiji 1\nid=", "nonsense\n", render(an_entry())],
    ids=["empty", "torn", "nonsense", "no end"],
)
def test_damaged_unfinished_and_temporary_files_are_passed_over(followed, text):
    (followed.folders.done / an_entry(1).id).write_text(text)
    (followed.folders.done / f".{an_entry(2).id}.7~").write_text(render(ended(an_entry(2))))
    leave(followed.folders, 3)

    followed.wait_for_end(3)

    assert followed.ended() == [3]


def test_a_thousand_ends_at_once_are_all_told_once(followed):
    leave(followed.folders, *range(1, 1001))

    turn_until(lambda: len(followed.finished) >= 1000, "a thousand ends")
    leave(followed.folders, 1001)
    followed.wait_for_end(1001)

    assert sorted(followed.ended()) == [*range(1, 1002)]


# states


def test_the_steps_of_a_run_are_changes_of_its_task(followed):
    folders = followed.folders
    files.write(folders.requested("ping"), "")
    followed.wait_for_change()
    folders.requested("ping").unlink()
    followed.wait_for_change()
    begin(folders, an_entry())
    followed.wait_for_change()
    finish(folders, an_entry())
    followed.wait_for_change()
    latches.write_latch(folders, "ping", an_entry().id, Result.FAILED, "no")
    followed.wait_for_change()
    folders.held("ping").unlink()
    followed.wait_for_change()


def test_a_run_file_that_gets_its_beginning_late_is_a_change_again(followed):
    path = followed.folders.running("ping")
    path.touch()
    followed.wait_for_change()
    path.write_text(render(an_entry()))
    followed.wait_for_change()


def test_a_task_that_is_scaffolded_or_whose_source_goes_is_a_change(followed):
    (followed.folders.tasks / "fresh").mkdir()
    followed.wait_for_change("fresh")
    (followed.folders.tasks / "fresh").rmdir()
    followed.wait_for_change("fresh")


def test_the_end_of_a_change_is_told(followed):
    marks.mark(followed.folders, "ping")
    followed.wait_for_change()
    marks.unmark(followed.folders, "ping")
    followed.wait_for_change()


def test_what_the_manager_tells_is_a_change(followed):
    followed.units.tell("ping")

    assert followed.changed == ["ping"]


def test_names_that_no_task_can_have_are_passed_over(followed):
    for name in ("Ping", ".ping.7~", "a b", "ping~"):
        (followed.folders.run / "held" / name).touch()
    followed.folders.held("ping").touch()

    turn_until(lambda: followed.changed, "a change")

    assert set(followed.changed) == {"ping"}


# coming and going


def test_nothing_is_told_after_the_stop(followed):
    other = Followed(followed.folders)
    other.following.start()
    followed.following.stop()
    leave(followed.folders, 1)
    followed.folders.held("ping").touch()

    other.wait_for_end()
    other.wait_for_change()

    other.following.stop()
    assert (followed.finished, followed.changed) == ([], [])


def test_folders_that_vanish_and_come_back_are_followed_again(followed):
    shutil.rmtree(followed.folders.home)
    for folder in followed.folders.made():
        folder.mkdir(parents=True, exist_ok=True)
    leave(followed.folders, 1)

    followed.wait_for_end()

    assert followed.ended() == [1]


def test_a_home_without_folders_can_be_followed(tmp_path):
    followed = Followed(Folders(tmp_path / "workspace", tmp_path / "home"))
    followed.following.start()
    followed.following.stop()
