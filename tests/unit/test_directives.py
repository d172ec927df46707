"""Each directive in each state, against the host in memory."""

from __future__ import annotations

import errno
import os
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from commanding import Place
from directing import LIVES, Faults, Reset, Stage, die, disagreements, result_of

from keiji import files, latches, lifecycle, locks, running
from keiji.directives import Verb
from keiji.errors import (
    HostFailed,
    InvalidName,
    KeijiError,
    NoSuchTask,
    StoreUnavailable,
    TaskBusy,
    TaskHeld,
    TaskNotBuilt,
)
from keiji.host import Ending
from keiji.lifecycle import Life
from keiji.run import Result
from keiji.testing import broken

ARMED = Life(True, True, is_enabled=True, is_started=True)
RUNNING = replace(ARMED, is_running=True)
HELD = replace(ARMED, is_held=True)
DISABLED = replace(ARMED, is_enabled=False)
UNBUILT = [Life(has_source=has_source, is_started=True) for has_source in (True, False)]


def full(path: Path, *_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))


def named(life: Life) -> str:
    said = {"built": life.is_built, "enabled": life.is_enabled, "held": life.is_held}
    said |= {"running": life.is_running, "started": life.is_started, "source": life.has_source}
    return "+".join(name for name, is_so in said.items() if is_so) or "nothing"


@pytest.fixture
def stage(place: Place) -> Stage:
    return Stage(place, ARMED)


# every directive in every state


@pytest.mark.parametrize("verb", list(Verb))
@pytest.mark.parametrize("life", [*LIVES, *UNBUILT], ids=named)
def test_what_follows_is_what_the_state_machine_says(place: Place, life: Life, verb: Verb) -> None:
    stage = Stage(place, life)
    assert stage.life() == life
    before = stage.whole()
    refused = lifecycle.refusal(life, verb)

    if refused:
        with pytest.raises(refused):
            stage.send(verb)
        assert (stage.life(), stage.whole()) == (life, before)
    else:
        stage.send(verb)
        assert stage.life() == lifecycle.follow(life, verb)
    assert disagreements(stage) == []


@pytest.mark.parametrize("verb", list(Verb))
@pytest.mark.parametrize("life", [life for life in LIVES if life.is_running], ids=named)
def test_a_directive_from_inside_the_run_ends_it_but_for_disable(
    place: Place, life: Life, verb: Verb
) -> None:
    stage = Stage(place, life)
    entry = running.running_entry(place.folders, "ping")
    assert entry is not None
    if lifecycle.refusal(life, verb):
        return

    stage.send(verb, inside=entry.id)

    assert stage.life() == lifecycle.follow(life, verb, is_inside=True)
    assert disagreements(stage) == []


@pytest.mark.parametrize("verb", list(Verb))
@pytest.mark.parametrize("life", [life for life in LIVES if life.is_started or life.is_running], ids=named)
def test_a_directive_that_fails_at_any_step_leaves_all_as_it_was(
    place: Place, life: Life, verb: Verb
) -> None:
    """But for a run that has ended: it can't be revived."""
    stage = Stage(place, life)
    before = stage.whole()
    reset = Reset(stage)
    faults = Faults(stage, questions=True)
    n, may_fail = 0, True
    while may_fail:
        n += 1
        reset()
        problem = None
        try:
            with faults.at_step(n):
                stage.send(verb)
        except KeijiError as error:
            problem = error
        may_fail = faults.has_struck
        if problem and may_fail:
            assert stage.whole() == before, (n, faults.where)
            assert stage.life().is_running is life.is_running or verb is Verb.DELETE, (n, faults.where)
            assert disagreements(stage) == [], (n, faults.where)


def test_a_stop_that_fails_leaves_the_task_enabled_and_armed(place: Place) -> None:
    stage = Stage(place, RUNNING)
    place.host.faults["stop_run"] = broken()

    with pytest.raises(HostFailed):
        stage.send(Verb.DISABLE)

    assert stage.life() == RUNNING
    assert "ping" in place.host.armed


@pytest.mark.parametrize("verb", [Verb.STOP, Verb.DISABLE])
def test_a_full_disk_keeps_nobody_from_ending_a_run(
    place: Place, verb: Verb, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run itself may be filling it."""
    stage = Stage(place, RUNNING)
    monkeypatch.setattr(files, "write", full)

    stage.send(verb)

    assert stage.life() == lifecycle.follow(RUNNING, verb)


@pytest.mark.parametrize("verb", [Verb.RUN, Verb.RESTART, Verb.ENABLE, Verb.DELETE])
def test_on_a_full_disk_the_others_change_nothing_and_name_the_file(
    place: Place, verb: Verb, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(place, ARMED)
    before = stage.whole()
    monkeypatch.setattr(files, "write", full)

    with pytest.raises(HostFailed, match="stale/ping: No space left on device"):
        stage.send(verb)

    assert stage.whole() == before


def test_a_restart_that_cannot_arm_ends_no_run(place: Place) -> None:
    stage = Stage(place, RUNNING)
    place.host.deaf.add("ping")

    with pytest.raises(HostFailed, match="did not come to wait"):
        stage.send(Verb.RESTART)

    assert stage.life() == RUNNING


def test_what_was_due_while_a_directive_failed_is_caught_up(place: Place) -> None:
    stage = Stage(place, RUNNING)
    told: list[Any] = []
    arm = place.host.arm
    place.host.arm = lambda slugs, rested=None: told.append(rested) or arm(slugs, rested)  # type: ignore
    place.host.faults["stop_run"] = broken()
    before = time.time()

    with pytest.raises(HostFailed):
        stage.send(Verb.DISABLE)

    assert before <= told[0]["ping"] <= time.time()


@pytest.mark.parametrize("verb", [Verb.STOP, Verb.RESTART, Verb.DISABLE])
def test_a_stop_that_fails_has_no_later_death_count_as_meant(place: Place, verb: Verb) -> None:
    stage = Stage(place, RUNNING)
    place.host.faults["stop_run"] = broken()
    with pytest.raises(HostFailed):
        stage.send(verb)

    die(place.host, result="signal", by_signal=True, status=9)
    stage.send(Verb.ENABLE)

    assert stage.life() == replace(HELD, has_source=True)


# run


def test_run_gives_the_run_s_id(stage: Stage) -> None:
    reply = stage.send(Verb.RUN)

    entry = running.running_entry(stage.folders, "ping")
    assert entry is not None
    assert entry.id == reply.run


def test_run_of_a_held_task_names_the_way_out(place: Place) -> None:
    with pytest.raises(TaskHeld, match="keiji task resolve ping"):
        Stage(place, HELD).send(Verb.RUN)


def test_a_run_that_has_not_made_its_file_yet_keeps_another_from_beginning(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keiji.states._BEGINNING", 0.05)
    stage.host.begin = lambda slug, run: None
    run = stage.send(Verb.RUN).run

    with pytest.raises(TaskBusy):
        stage.send(Verb.RUN)

    assert stage.host.ending("ping").run == run


def test_run_waits_for_the_run_before_to_be_gone(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its record is made before its process ends."""
    last = stage.send(Verb.RUN).run
    running.end_run(stage.folders, "ping", last, Result.SUCCEEDED)

    def pause(seconds: float) -> None:
        stage.host.endings["ping"] = Ending(run=last)

    monkeypatch.setattr(time, "sleep", pause)

    assert stage.send(Verb.RUN).run != last


def test_a_run_that_began_though_the_manager_said_otherwise_is_told(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = stage.host.start_run

    def late(slug: str) -> str:
        start(slug)
        raise broken("it did not start within 15 s")

    monkeypatch.setattr(stage.host, "start_run", late)

    assert stage.send(Verb.RUN).run == stage.host.ending("ping").run


@pytest.mark.parametrize("is_delivered", [False, True])
def test_a_run_that_is_over_before_its_id_is_asked_for_is_told(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, is_delivered: bool
) -> None:
    def quick(slug: str) -> str:
        run = "e" * 32
        stage.begin(slug, run)
        running.end_run(stage.folders, slug, run, Result.SUCCEEDED)
        if is_delivered:
            from keiji.ledger import deliver

            with stage.place.session.store() as store:
                deliver(stage.folders, store)
        return ""

    monkeypatch.setattr(stage.host, "start_run", quick)

    assert stage.send(Verb.RUN).run == "e" * 32


# stop, restart, disable


@pytest.mark.parametrize("verb", [Verb.STOP, Verb.RESTART, Verb.DISABLE])
def test_a_run_that_is_ended_on_purpose_is_recorded_as_stopped(stage: Stage, verb: Verb) -> None:
    run = stage.send(Verb.RUN).run

    assert stage.send(verb).run == run

    assert result_of(stage, run) is Result.STOPPED
    assert latches.latch(stage.folders, "ping") is None


@pytest.mark.parametrize("verb", [Verb.STOP, Verb.RESTART, Verb.DISABLE])
def test_a_run_that_is_stopped_before_it_began_is_recorded(stage: Stage, verb: Verb) -> None:
    stage.host.begin = lambda slug, run: None
    run = stage.send(Verb.RUN).run

    assert stage.send(verb).run == run

    assert result_of(stage, run) is Result.STOPPED


def test_the_record_of_a_stopped_run_that_cannot_be_written_undoes_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = stage.send(Verb.RUN).run

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(running, "end_run", full)
        stage.send(Verb.DISABLE)

    assert not stage.life().is_enabled
    stage.send(Verb.ENABLE)  # whoever comes next finds the run's file, and knows that its end was meant
    assert result_of(stage, run) is Result.STOPPED


@pytest.mark.parametrize("verb", [Verb.STOP, Verb.DISABLE, Verb.ENABLE, Verb.RESTART, Verb.RESOLVE, Verb.RUN])
def test_all_but_delete_need_no_database(stage: Stage, verb: Verb) -> None:
    stage.folders.database.unlink()
    stage.folders.database.mkdir()

    stage.send(verb)
    stage.dispatcher().mend("ping")


def test_delete_needs_the_database_and_changes_nothing_without(stage: Stage) -> None:
    stage.folders.database.chmod(0o400)
    with stage.place.locked_database(), pytest.raises(StoreUnavailable):
        stage.send(Verb.DELETE)

    assert stage.life() == ARMED


# enable, resolve


@pytest.mark.parametrize(
    ("said", "zone"), [("TIME_ZONE=Africa/Nairobi\n", "+03:00"), ("TIME_ZONE=nowhere\n", "+00:00")]
)
def test_the_next_time_is_told_in_the_settings_zone(stage: Stage, said: str, zone: str) -> None:
    """The bus's process may have another than who asks."""
    stage.folders.settings.write_text(said)

    assert stage.send(Verb.ENABLE).message.endswith(zone)


def test_enable_of_a_held_task_says_that_it_stays_held(place: Place) -> None:
    assert "held until" in Stage(place, replace(HELD, is_enabled=False)).send(Verb.ENABLE).message


def test_resolve_of_a_disabled_task_says_that_it_stays_disabled(place: Place) -> None:
    assert "disabled" in Stage(place, replace(HELD, is_enabled=False)).send(Verb.RESOLVE).message


def test_resolve_of_a_task_that_is_not_held_changes_nothing(stage: Stage) -> None:
    before = stage.whole()

    assert "not held" in stage.send(Verb.RESOLVE).message
    assert stage.whole() == before


def test_a_hold_that_comes_while_the_task_is_armed_is_no_failure(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(place, DISABLED)
    arm = place.host.arm

    def held_meanwhile(slugs: object, rested: object = None) -> list[str]:
        place.hold()
        return arm(slugs, rested)  # type: ignore[arg-type]

    monkeypatch.setattr(place.host, "arm", held_meanwhile)

    assert "held until" in stage.send(Verb.ENABLE).message


# delete


def test_delete_leaves_the_source_and_nothing_else(place: Place) -> None:
    stage = Stage(place, replace(RUNNING, is_held=True))
    (place.folders.logs / "tasks" / "ping").mkdir(parents=True)

    stage.send(Verb.DELETE)

    assert stage.life() == Life(has_source=True, is_started=True)
    assert not stage.is_recorded()
    home = place.folders.home
    left = {str(path.relative_to(home)) for path in home.rglob("*") if path.name.strip(".") == "ping"}
    assert left == {"run/locks/ping"}
    assert [*place.folders.done.iterdir()] == []


@pytest.mark.parametrize("is_source_kept", [True, False])
def test_a_task_whose_units_somebody_removed_can_be_deleted(place: Place, is_source_kept: bool) -> None:
    stage = Stage(place, replace(ARMED, has_source=is_source_kept))
    place.host.unit_files("ping")[0].unlink()

    assert ("its source stays" in stage.send(Verb.DELETE).message) is is_source_kept

    assert not stage.is_recorded()
    assert disagreements(stage) == []


def test_what_cannot_be_cleared_after_a_delete_is_cleared_by_whoever_comes_next(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(slug: str) -> None:
        raise broken()

    with monkeypatch.context() as manager:
        manager.setattr(stage.host, "forget", fail)
        stage.send(Verb.DELETE)

    assert stage.place.is_marked()
    with pytest.raises(TaskNotBuilt):
        stage.send(Verb.STOP)
    assert disagreements(stage) == []


# who may be meant


@pytest.mark.parametrize("verb", list(Verb))
def test_a_name_that_is_made_up_leaves_nothing_behind(place: Place, verb: Verb) -> None:
    with pytest.raises(NoSuchTask, match="nobody"):
        Stage(place, ARMED).send(verb, "nobody")

    assert not place.folders.lock("nobody").exists()


@pytest.mark.parametrize("verb", list(Verb))
def test_a_task_that_was_never_built_is_told_so(place: Place, verb: Verb) -> None:
    with pytest.raises(TaskNotBuilt, match="keiji task build ping"):
        Stage(place, UNBUILT[0]).send(verb)


@pytest.mark.parametrize("name", ["x" * 2**20, "\U000e0001" * 2**20, "a\nb", "../ping"])
def test_a_name_that_cannot_be_is_refused_in_one_short_line(stage: Stage, name: str) -> None:
    with pytest.raises(InvalidName) as caught:
        stage.send(Verb.STOP, name)

    assert len(caught.value.message) < 250
    assert "\n" not in caught.value.message


# one after another, and side by side


def test_a_directive_waits_until_nobody_else_changes_the_task(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = threading.Event()

    def pause(seconds: float) -> None:
        waits.set()
        time.sleep(seconds)

    monkeypatch.setattr(locks, "time", SimpleNamespace(monotonic=time.monotonic, sleep=pause))
    thread = threading.Thread(target=lambda: stage.send(Verb.DISABLE))
    with locks.task_lock(stage.folders, "ping"):
        thread.start()
        assert waits.wait(10)
        assert stage.life() == ARMED
    thread.join(10)

    assert stage.life() == DISABLED


def test_directives_to_different_tasks_do_not_wait_for_each_other(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(place, RUNNING)
    place.add("other")
    stops, may_go_on = threading.Event(), threading.Event()
    stop = place.host.stop_run

    def slow(slug: str) -> None:
        stops.set()
        may_go_on.wait(10)
        stop(slug)

    monkeypatch.setattr(place.host, "stop_run", slow)
    thread = threading.Thread(target=lambda: stage.send(Verb.STOP))
    thread.start()
    assert stops.wait(10)

    stage.send(Verb.DISABLE, "other")

    may_go_on.set()
    thread.join(10)
    assert not place.host.units["other"]
    assert not stage.life().is_running


# the record


@pytest.mark.parametrize(
    ("life", "flags"),
    [(ARMED, (0, 0, "")), (DISABLED, (1, 0, "")), (HELD, (0, 1, "ValueError: no"))],
    ids=["armed", "disabled", "held"],
)
def test_the_record_is_mended_to_say_what_is_true(
    place: Place, life: Life, flags: tuple[object, ...]
) -> None:
    stage = Stage(place, life)
    with place.session.store() as store:
        store.mend("ping", life.is_enabled, "wrong")

    stage.dispatcher().mend("ping")

    with place.session.store() as store:
        assert store.mend("ping", not life.is_enabled, flags[2] if flags[1] else None) is False  # type: ignore


def test_what_changes_while_the_record_is_mended_is_in_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    from keiji.store import Store

    mend = Store.mend

    def late(self: Store, slug: str, disabled: bool, error: str | None) -> bool:
        monkeypatch.setattr(Store, "mend", mend)
        stage.send(Verb.DISABLE)
        return mend(self, slug, disabled, error)

    monkeypatch.setattr(Store, "mend", late)

    stage.dispatcher().mend("ping")

    with stage.place.session.store() as store:
        assert store.mend("ping", True, None) is False


def test_a_task_that_is_not_there_needs_no_mending(stage: Stage) -> None:
    stage.dispatcher().mend("nobody")


def test_a_record_that_is_right_is_not_written(stage: Stage) -> None:
    from recording import run_python

    code = """
import sys
from pathlib import Path
from keiji.dispatcher import Dispatcher
from keiji.folders import Folders
from keiji.settings import Settings
from keiji.store import open_store
from keiji.testing import MemoryHost
folders = Folders(Path(sys.argv[1]), Path(sys.argv[2]))
host = MemoryHost(folders)
host.units["ping"] = True
Dispatcher(folders, host, lambda: open_store(Settings(folders))).mend("ping")
print("peewee" in sys.modules)
host.units["ping"] = False
Dispatcher(folders, host, lambda: open_store(Settings(folders))).mend("ping")
print("peewee" in sys.modules)
"""
    said = run_python(code, stage.folders.workspace, stage.folders.home)

    assert said.split() == ["False", "True"]
