"""`keiji task build`, with the host in memory: what it does, and that a failure leaves no trace."""

from __future__ import annotations

from dataclasses import replace

import pytest
from authoring import SCHEDULE_HEAD
from commanding import EVERY_MINUTE, Place

from keiji.errors import HostFailed, KeijiError, NoSuchTask, StoreUnavailable
from keiji.host import Timer
from keiji.testing import MemoryHost, broken

WRONG = SCHEDULE_HEAD + "    return Schedule().cron('never')\n"
NEW_METHODS = ("check", "render", "set_enabled", "arm")  # what a new task's build asks of the host
CHANGE_METHODS = ("check", "render", "disarm", "reload", "arm")  # what a changed one's asks


class Timerless(MemoryHost):
    """A host whose manager doesn't answer when it is asked for timers that often."""

    silent_after = -1
    loaded = ""  # what the manager has read

    def reload(self) -> None:
        super().reload()
        self.loaded = self.unit_files("ping")[0].read_text()

    def timers(self, slugs: list[str]) -> dict[str, Timer]:  # type: ignore[override]
        if self.silent_after == 0:
            self.silent_after = -1
            raise broken()
        self.silent_after -= self.silent_after > 0
        return super().timers(slugs)


@pytest.fixture
def built(place: Place) -> Place:
    """With a task `ping` that is built and armed."""
    place.write()
    assert place.build() == 0
    return place


def change(place: Place) -> None:
    """Edit the task's schedule, so that its units change."""
    place.write(schedule=EVERY_MINUTE)


def fails(place: Place, name: str | None = "ping") -> None:
    """A build that does not succeed, whichever way it says so."""
    try:
        assert place.build(name) == 1
    except KeijiError:
        pass


# what a build does


def test_a_new_task_is_armed_when_the_system_is_started(built: Place) -> None:
    assert built.host.armed == {"ping"}
    assert [*built.units()] == ["ping"]
    assert "ping" in built.rows()[0]


def test_a_new_task_is_enabled_but_not_armed_while_the_system_is_stopped(place: Place) -> None:
    place.host.stop_system()
    place.write()
    place.build()

    assert (place.host.armed, place.host.is_enabled("ping")) == (set(), True)


def test_a_first_build_says_the_hash_and_the_next_time(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    place.write()
    place.build()

    hash = place.folders.current("ping").readlink()
    assert capsys.readouterr().out == f"ping: built ({hash}), armed, next time 2026-11-23T12:00:00+00:00\n"


def test_a_build_writes_its_line_into_the_task_s_log(built: Place) -> None:
    hash = built.folders.current("ping").readlink()

    assert built.host.logged == [
        ("ping", "INFO", f"build {hash}: armed, next time 2026-11-23T12:00:00+00:00")
    ]


def test_an_unchanged_build_changes_nothing(built: Place, capsys: pytest.CaptureFixture[str]) -> None:
    before, reloads, logged = built.state(), built.host.reloads, [*built.host.logged]
    capsys.readouterr()

    assert built.build() == 0

    assert (built.state(), built.host.reloads, built.host.logged) == (before, reloads, logged)
    assert "ping: unchanged (" in capsys.readouterr().out


def test_a_changed_schedule_is_read_by_the_manager_and_armed_again(built: Place) -> None:
    reloads = built.host.reloads
    change(built)

    built.build()

    assert built.host.reloads == reloads + 1
    assert built.host.armed == {"ping"}
    assert "interval:1" in built.units()["ping"]


def test_a_changed_function_alone_needs_no_reload(built: Place) -> None:
    reloads, before = built.host.reloads, built.units()
    built.write(function="def function():\n    print('new')\n")

    built.build()

    assert (built.host.reloads, built.units()) == (reloads, before)


def test_a_build_keeps_the_record_s_ids(built: Place) -> None:
    (before,) = built.rows()
    change(built)
    built.build()
    (after,) = built.rows()

    assert after[:2] == before[:2]
    assert after != before


def test_a_held_task_is_not_armed_by_a_build(built: Place, capsys: pytest.CaptureFixture[str]) -> None:
    built.hold()
    change(built)

    assert built.build() == 0

    assert built.host.armed == set()
    assert "keiji task resolve ping" in capsys.readouterr().out


def test_a_disabled_task_stays_disabled_when_it_is_built(
    built: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    built.host.set_enabled("ping", False)
    built.host.disarm(["ping"])
    change(built)

    assert built.build() == 0

    assert (built.host.armed, built.host.is_enabled("ping")) == (set(), False)
    assert "keiji task enable ping" in capsys.readouterr().out


def test_a_timer_that_should_wait_and_does_not_is_armed_by_an_unchanged_build(built: Place) -> None:
    built.host.armed.clear()

    built.build()

    assert built.host.armed == {"ping"}


def test_a_build_that_was_cut_short_is_brought_to_its_end_by_the_next(built: Place) -> None:
    """The mark says that the manager may not know the units as they are."""
    reloads = built.host.reloads
    built.mark()

    built.build()

    assert built.host.reloads == reloads + 1
    assert not built.is_marked()
    assert built.host.armed == {"ping"}


def test_a_build_leaves_no_mark(built: Place) -> None:
    assert not built.is_marked()


def test_a_task_without_a_folder_is_named(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.build("nobody") == NoSuchTask.exit_status
    assert "tasks/nobody" in capsys.readouterr().err


def test_an_empty_workspace_is_no_failure(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert place.build(None) == 0
    assert "keiji task create" in capsys.readouterr().err


# all of them


def test_one_bad_task_does_not_stop_the_others(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.write("bad", schedule=WRONG)
    for name in ("a", "z"):
        place.write(name)

    assert place.build(None) == 1

    assert place.host.armed == {"a", "z"}
    assert "bad/schedule.py" in capsys.readouterr().err


def test_a_build_of_all_reloads_once(place: Place) -> None:
    names = ("a", "b", "c")
    for name in names:
        place.write(name)
    place.build(None)
    for name in names:
        place.write(name, schedule=EVERY_MINUTE)
    reloads = place.host.reloads

    place.build(None)

    assert place.host.reloads == reloads + 1


@pytest.mark.parametrize("method", ["check", "render"])
def test_a_failure_of_one_of_all_leaves_the_others_built(place: Place, method: str) -> None:
    for name in ("a", "b"):
        place.write(name)
    place.host.faults[method] = broken()  # meets the first

    assert place.build(None) == 1

    assert place.host.armed == {"b"}
    assert [*place.units()] == ["b"]


def test_a_timer_that_never_waits_costs_the_others_nothing(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        place.write(name)
    place.host.deaf.add("a")
    before = place.state("b")

    assert place.build(None) == 1

    assert place.host.armed == {"b"}
    assert place.state("b") == before
    assert "'a'" in capsys.readouterr().err


# failures: everything is as it was, and the next build mends everything


@pytest.mark.parametrize("method", NEW_METHODS)
def test_a_failed_first_build_leaves_nothing_behind_and_the_next_succeeds(place: Place, method: str) -> None:
    place.write()
    before = place.state()
    place.host.faults[method] = broken()

    fails(place)

    assert method not in place.host.faults
    assert (place.state(), place.is_marked()) == (before, False)
    assert place.build() == 0
    assert (place.host.armed, place.is_marked()) == ({"ping"}, False)


@pytest.mark.parametrize("method", CHANGE_METHODS)
def test_a_failed_build_leaves_the_one_before_armed_and_the_next_succeeds(built: Place, method: str) -> None:
    before = built.state()
    change(built)
    built.host.faults[method] = broken()

    fails(built)

    assert method not in built.host.faults
    assert built.state() == before
    assert built.build() == 0
    assert (built.host.armed, built.is_marked()) == ({"ping"}, False)
    assert "interval:1" in built.units()["ping"]


def test_a_failed_first_build_leaves_no_empty_folder(place: Place) -> None:
    place.write()
    place.host.faults["arm"] = broken()

    fails(place)

    assert not place.folders.builds("ping").exists()


@pytest.mark.parametrize("method", ["disarm", "reload", "arm"])
def test_a_manager_that_fails_a_build_of_all_leaves_all_as_they_were(place: Place, method: str) -> None:
    for name in ("a", "b"):
        place.write(name)
    place.build(None)
    before = place.state()
    for name in ("a", "b", "new"):
        place.write(name, schedule=EVERY_MINUTE)
    place.host.faults[method] = broken()

    fails(place, None)

    assert place.state() == before


def test_a_timer_that_never_waits_brings_the_last_build_back(
    built: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    before = built.state()
    change(built)
    arm = built.host.arm
    built.host.deaf.add("ping")

    def deaf_once(slugs: object, rested: object = None) -> list[str]:
        """Only the new timer does not come to wait."""
        idle = arm(slugs, rested)  # type: ignore[arg-type]
        built.host.deaf.clear()
        return idle

    built.host.arm = deaf_once  # type: ignore[method-assign,assignment]

    assert built.build() == 1

    assert built.state() == before
    assert "did not come to wait" in capsys.readouterr().err


def test_a_new_timer_that_never_waits_leaves_nothing_behind(place: Place) -> None:
    place.write()
    before = place.state()
    place.host.deaf.add("ping")

    assert place.build() == 1

    assert place.state() == before
    assert not place.is_marked()


@pytest.mark.parametrize("answered", [0, 1, 2, 3])
def test_a_manager_that_stops_answering_leaves_the_build_before(built: Place, answered: int) -> None:
    host = Timerless(built.folders)
    vars(host).update(vars(built.host))
    vars(built)["host"] = host
    built.session = replace(built.session, host=host)
    before = built.state()
    change(built)
    host.silent_after = answered

    try:
        built.build()
    except HostFailed:
        # Asked for the words at the very end, it no longer undoes what is done.
        if answered < 3:
            assert built.state() == before
            assert host.loaded in ("", built.units()["ping"])

    built.build()
    assert built.host.armed == {"ping"}
    assert "interval:1" in built.units()["ping"]


@pytest.mark.parametrize("method", ["disarm", "reload", "arm"])
def test_what_a_manager_that_is_gone_for_good_cannot_put_back_is_marked_for_the_next_build(
    built: Place, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {**built.state(), "armed": None}
    change(built)

    def gone(*asked: object) -> None:
        raise broken()

    with monkeypatch.context() as patch:
        patch.setattr(built.host, method, gone)
        fails(built)

    assert {**built.state(), "armed": None} == before
    assert built.is_marked()
    assert built.build() == 0
    assert (built.host.armed, built.is_marked()) == ({"ping"}, False)


def test_a_locked_database_leaves_the_build_before_and_the_next_succeeds(built: Place) -> None:
    before = built.state()
    change(built)

    with built.locked_database():
        fails(built)

    assert built.state() == before
    assert built.build() == 0
    assert "interval:1" in built.units()["ping"]


def test_a_locked_database_leaves_nothing_of_a_new_task(place: Place) -> None:
    place.write()
    before = place.state()

    with place.locked_database():
        fails(place)

    assert place.state() == before


def test_without_a_database_nothing_is_touched(built: Place) -> None:
    before = {key: said for key, said in built.state().items() if key != "rows"}
    change(built)
    built.folders.database.rename(built.folders.home / "away")

    with pytest.raises(StoreUnavailable):
        built.build()

    built.folders.database.unlink(missing_ok=True)
    (built.folders.home / "away").rename(built.folders.database)
    assert {key: said for key, said in built.state().items() if key != "rows"} == before


def test_a_failed_build_of_a_held_task_leaves_it_held(built: Place) -> None:
    built.hold()
    before = built.state()
    change(built)
    built.host.faults["reload"] = broken()

    fails(built)

    assert built.state() == before


# interrupted: Ctrl-C is no other than a failure


@pytest.mark.parametrize("method", NEW_METHODS)
def test_an_interrupted_first_build_leaves_nothing_behind(place: Place, method: str) -> None:
    place.write()
    before = place.state()
    place.host.faults[method] = KeyboardInterrupt()  # type: ignore[assignment]

    with pytest.raises(KeyboardInterrupt):
        place.build()

    assert place.state() == before


@pytest.mark.parametrize("method", CHANGE_METHODS)
def test_an_interrupted_build_leaves_the_one_before(built: Place, method: str) -> None:
    before = built.state()
    change(built)
    built.host.faults[method] = KeyboardInterrupt()  # type: ignore[assignment]

    with pytest.raises(KeyboardInterrupt):
        built.build()

    assert built.state() == before


def test_an_interrupted_build_of_all_takes_back_those_that_were_made(place: Place) -> None:
    for name in ("a", "b"):
        place.write(name)
    before = place.state()
    place.host.faults["arm"] = KeyboardInterrupt()  # type: ignore[assignment]

    with pytest.raises(KeyboardInterrupt):
        place.build(None)

    assert place.state() == before


# --restart


def test_restart_with_a_build_ends_the_run_in_progress(
    built: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    run = built.host.start_run("ping")
    capsys.readouterr()

    assert built.build(restart=True) == 0

    assert f"ping: run {run} stopped" in capsys.readouterr().out
    assert built.host.armed == {"ping"}


def test_a_build_without_restart_leaves_the_run_in_progress_alone(built: Place) -> None:
    built.host.start_run("ping")
    change(built)

    built.build()

    assert built.host.ending("ping").is_active
