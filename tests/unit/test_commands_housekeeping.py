"""What the hourly unit sees to: records, deaths unseen, timers that should wait and don't."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from commanding import Place
from recording import a_run, an_entry, ended, without_database

from keiji import latches, marks, running
from keiji.commands import housekeeping
from keiji.commands.housekeeping import finish_changes, follow_clock, keep_house, mend_arming, startup
from keiji.directives import Verb
from keiji.errors import StoreUnavailable
from keiji.host import Ending
from keiji.locks import task_lock
from keiji.run import Result
from keiji.runfile import EPOCH, Entry
from keiji.testing import broken

DATABASES = ("sqlite", "postgres")


def dead(number: int = 1, task: str = "ping", boot: str = "boot-1") -> Entry:
    """A run whose process is gone and that has not said how it ended."""
    return an_entry(number, task).evolve(pid=gone(), boot=boot)


def gone() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", ""])
    process.wait()
    return process.pid


def results(place: Place, slug: str = "ping") -> list[Result]:
    with place.session.store() as store:
        return [run.result for run in store.runs(slug)]


def age(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds,) * 2)


# timers


def test_a_timer_that_should_wait_and_does_not_is_armed_again(place: Place) -> None:
    place.add()
    place.host.armed.clear()

    assert mend_arming(place.session) == ["ping"]

    assert place.host.armed == {"ping"}
    assert [(slug, level) for slug, level, _ in place.host.logged] == [("ping", "ERROR")]


def test_timers_that_wait_are_left_alone(place: Place) -> None:
    place.add()

    assert mend_arming(place.session) == []

    assert (place.host.logged, place.host.reloads) == ([], 0)


def test_disabled_and_held_tasks_are_not_armed(place: Place) -> None:
    for name in ("held", "disabled"):
        place.add(name)
    place.host.set_enabled("disabled", False)
    place.hold("held")
    place.host.armed.clear()

    assert mend_arming(place.session) == []

    assert place.host.armed == set()


def test_nothing_is_armed_while_the_system_is_stopped(place: Place) -> None:
    place.add()
    place.host.stop_system()

    assert mend_arming(place.session) == []

    assert place.host.armed == set()


def test_a_task_that_is_being_changed_is_left_alone_and_the_others_need_not_wait(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        place.add(name)
    place.host.armed.clear()
    monkeypatch.setattr(housekeeping, "task_lock", lambda *where, patience: task_lock(*where, patience=0))

    with task_lock(place.folders, "a"):
        mend_arming(place.session)

    assert place.host.armed == {"b"}
    assert capsys.readouterr().err == ""


def test_a_manager_that_fails_one_is_asked_for_the_others(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        place.add(name)
    place.host.armed.clear()
    place.host.faults["arm"] = broken()

    mend_arming(place.session)

    assert place.host.armed == {"b"}
    assert "keiji: a: the manager does not answer" in capsys.readouterr().err


def test_a_file_that_cannot_be_read_keeps_nothing_from_the_others(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        place.add(name)
        place.mark(name)
    place.folders.stopping("a").mkdir()

    assert finish_changes(place.session) == ["b"]

    assert "keiji: a: [Errno 21] Is a directory" in capsys.readouterr().err


def test_only_timers_that_wait_again_are_told_of(place: Place) -> None:
    place.add()
    place.host.armed.clear()
    place.host.deaf.add("ping")

    assert mend_arming(place.session) == []


# changes that were cut short


def clocked(place: Place) -> list[str]:
    with place.session.store() as store:
        return follow_clock(place.session, store)


def test_units_that_go_by_a_clock_which_the_machine_has_left_are_written_anew(place: Place) -> None:
    place.add()
    place.host.armed.clear()
    place.host.strays = {"ping": 12.0, "somebody-elses": 12.0}

    assert clocked(place) == ["ping"]

    assert (place.host.armed, place.is_marked()) == ({"ping"}, False)


def test_units_of_a_run_in_progress_are_left_to_the_next_hour(place: Place) -> None:
    place.add()
    place.host.armed.clear()
    place.host.strays = {"ping": 12.0}
    place.begin(an_entry().evolve(pid=os.getpid()))

    assert clocked(place) == []

    assert place.host.armed == set()


def test_a_build_that_was_cut_short_is_brought_to_its_end(place: Place) -> None:
    place.add()
    place.mark()

    assert finish_changes(place.session) == ["ping"]

    assert (place.host.reloads, place.is_marked(), place.host.armed) == (1, False, {"ping"})


def test_a_deletion_that_was_cut_short_is_finished_also_while_the_system_is_stopped(place: Place) -> None:
    place.add()
    place.host.stop_system()
    marks.mark(place.folders, "ping", Verb.DELETE)

    keep_house(place.session)

    assert (place.units(), place.rows(), place.builds(), place.is_marked()) == ({}, [], {}, False)


def test_a_directive_that_is_under_way_is_no_change_that_was_cut_short(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place.add()
    monkeypatch.setattr(housekeeping, "task_lock", lambda *where, patience: task_lock(*where, patience=0))

    with task_lock(place.folders, "ping"):
        marks.mark(place.folders, "ping", Verb.DELETE)
        assert finish_changes(place.session) == []

    assert place.host.is_installed("ping")
    assert capsys.readouterr().err == ""


def test_a_directive_that_ends_meanwhile_leaves_nothing_to_finish(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.add()
    monkeypatch.setattr(marks, "marked", lambda folders: ["ping"])

    assert finish_changes(place.session) == []

    assert place.host.logged == []


def test_a_request_that_a_power_cut_left_is_taken_by_no_later_run(place: Place) -> None:
    place.add()
    place.folders.requested("ping").touch()

    finish_changes(place.session)

    assert not place.folders.requested("ping").exists()


# records


def test_records_that_wait_are_delivered(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.add()
    place.wait_for_delivery(ended(an_entry()))

    keep_house(place.session)

    assert results(place) == [Result.SUCCEEDED]
    assert "delivered 1 records" in capsys.readouterr().out


def test_a_damaged_record_is_put_aside_and_named(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    (place.folders.done / ("1" * 32)).write_text("torn")

    keep_house(place.session)

    assert [path.name for path in place.folders.damaged.iterdir()] == ["1" * 32]
    assert "damaged" in capsys.readouterr().err


def test_what_a_kill_left_half_written_is_swept_when_nobody_can_be_writing_it(place: Place) -> None:
    old, young = place.folders.done / ".old~", place.folders.done / ".young~"
    for path in (old, young):
        path.touch()
    age(old, 7200)

    keep_house(place.session)

    assert (old.exists(), young.exists()) == (False, True)


def test_old_runs_are_pruned_by_the_settings_after_delivery(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.add()
    place.set(history_runs=2)
    for number in range(1, 6):
        place.wait_for_delivery(ended(an_entry(number)))

    keep_house(place.session)

    assert len(results(place)) == 2
    assert "delivered 5 records, pruned 3," in capsys.readouterr().out


def test_without_limits_nothing_is_pruned(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.add()
    place.set(history_runs=0, history_days=0)
    place.record(a_run(1, began=EPOCH, ended=EPOCH), a_run(2))

    keep_house(place.session)

    assert len(results(place)) == 2
    assert "pruned 0," in capsys.readouterr().out


def test_with_the_database_away_all_else_is_done(place: Place) -> None:
    place.add()
    place.host.armed.clear()
    place.wait_for_delivery(ended(an_entry()))

    with place.locked_database(), pytest.raises(StoreUnavailable):
        keep_house(place.session)

    assert place.host.armed == {"ping"}
    keep_house(place.session)
    assert results(place) == [Result.SUCCEEDED]


def test_a_death_that_a_full_disk_cannot_record_keeps_nobody_from_looking(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    place.add()
    place.begin(dead())
    full = OSError(errno.ENOSPC, "No space left on device")
    monkeypatch.setattr(running, "end_run", raising(full))

    keep_house(place.session)

    assert capsys.readouterr().err == (
        "note: ping: how its last run ended cannot be recorded: No space left on device\n" * 2
    )


def raising(problem: Exception) -> Callable[..., None]:
    def work(*_: object, **__: object) -> None:
        raise problem

    return work


# runs that died unseen


def test_a_run_that_was_killed_unseen_is_recorded_and_held(place: Place) -> None:
    place.add()
    run = dead()
    place.begin(run)
    place.host.endings["ping"] = Ending(run=run.id, result="signal", by_signal=True, status=9)

    keep_house(place.session)

    assert results(place) == [Result.KILLED]
    latch = latches.latch(place.folders, "ping")
    assert latch is not None
    assert latch.id == run.id


def test_a_run_that_goes_on_is_left_alone(place: Place) -> None:
    place.add()
    run = an_entry().evolve(pid=os.getpid())
    place.begin(run)
    place.host.endings["ping"] = Ending(is_active=True, run=run.id)

    keep_house(place.session)

    assert place.folders.running("ping").exists()
    assert results(place) == []


def test_a_dead_run_whose_number_is_another_process_by_now_is_found(place: Place) -> None:
    place.add()
    run = an_entry().evolve(pid=os.getpid())
    place.begin(run)
    place.host.endings["ping"] = Ending(run=run.id, result="oom-kill", by_signal=True, status=9)

    keep_house(place.session)

    assert results(place) == [Result.KILLED]


def test_a_run_that_could_not_be_started_is_recorded_and_held(place: Place) -> None:
    place.add()
    place.host.endings["ping"] = Ending(run="c" * 32, result="exit-code", status=203)

    keep_house(place.session)
    keep_house(place.session)

    assert results(place) == [Result.FAILED]
    assert place.host.armed == set()


def test_a_torn_run_file_does_not_block_its_task_for_ever(place: Place) -> None:
    """A power cut may leave a run file without its beginning, and no run begins while it is there."""
    place.add()
    place.folders.running("ping").write_text("")

    keep_house(place.session)

    assert not place.folders.running("ping").exists()
    assert len([*place.folders.damaged.iterdir()]) == 1


def test_a_run_file_that_is_being_written_is_left_alone(place: Place) -> None:
    place.add()
    place.folders.running("ping").write_text("")
    place.host.endings["ping"] = Ending(is_active=True, run="d" * 32)

    keep_house(place.session)

    assert place.folders.running("ping").exists()


# after a boot


def test_a_run_that_a_power_cut_took_is_recorded_and_not_held(place: Place) -> None:
    place.add()
    place.begin(dead(boot="the boot before"))

    startup(place.session)
    keep_house(place.session)

    assert results(place) == [Result.KILLED]
    assert latches.latch(place.folders, "ping") is None
    assert "power-off" in place.host.logged[0][2]


def test_a_run_that_died_with_the_manager_alone_is_cleared_too(place: Place) -> None:
    place.add()
    place.begin(dead())

    startup(place.session)

    assert not place.folders.running("ping").exists()
    assert latches.latch(place.folders, "ping") is None


def test_startup_needs_no_database(place: Place) -> None:
    place.begin(dead(boot="the boot before"))

    with without_database(place.folders):
        startup(place.session)

    assert not place.folders.running("ping").exists()


# as a program


@pytest.mark.parametrize("arguments", [[], ["--startup"]])
def test_without_a_keiji_it_says_so_in_one_line(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert housekeeping.main(arguments) == 1

    assert "keiji init" in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "called"), [([], "keep_house"), (["--startup"], "startup")])
def test_the_word_startup_says_which_half(
    place: Place, arguments: list[str], called: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(housekeeping.session, "load", lambda must_stop: place.session)
    for name in ("keep_house", "startup"):
        monkeypatch.setattr(housekeeping, name, lambda session, name=name: asked.append(name))

    assert housekeeping.main(arguments) == 0

    assert asked == [called]
