"""What a run that could not say how it ended is judged to be."""

from __future__ import annotations

import json

import pytest

from keiji import files, latches, running, verdict
from keiji.folders import Folders
from keiji.host import Ending
from keiji.run import Result
from keiji.runfile import read
from keiji.testing import MemoryHost

RUN = "b" * 32
TEXT = f"keiji 1\nid={RUN}\ntask=t\nbuild=b1\npid=1\nboot=boot-1\nwhy=timer\nbegan=1795000000.000000\n"


@pytest.fixture
def folders(tmp_path):
    folders = Folders(tmp_path / "keiji", tmp_path / ".keiji")
    for folder in (*folders.made(), folders.builds("t") / "b1"):
        folder.mkdir(parents=True, exist_ok=True)
    files.write(folders.running("t"), TEXT)
    return folders


@pytest.fixture
def host(folders):
    host = MemoryHost(folders)
    host.units["t"] = True
    host.armed.add("t")
    return host


CASES = [
    (Ending(run=RUN, result="signal", by_signal=True, status=9), Result.KILLED, True),
    (Ending(run=RUN, result="oom-kill", by_signal=True, status=9), Result.KILLED, True),
    (Ending(run=RUN, result="core-dump", by_signal=True, status=11), Result.KILLED, True),
    (Ending(run=RUN, result="timeout", by_signal=True, status=9), Result.TIMED_OUT, True),
    (Ending(run=RUN, result="timeout", status=0), Result.TIMED_OUT, True),
    (Ending(run=RUN, result="exit-code", status=3), Result.FAILED, True),
    (Ending(run=RUN, result="success", status=0), Result.SUCCEEDED, False),
    (Ending(run=RUN, result="success", by_signal=True, status=15), Result.STOPPED, False),
    (Ending(run="", result="success"), Result.KILLED, False),  # cut off with the manager
]


@pytest.mark.parametrize(("ending", "result", "holds"), CASES)
def test_the_manager_s_word_decides_and_only_failures_hold(folders, host, ending, result, holds):
    host.endings["t"] = ending

    assert verdict.settle(folders, host, "t") is result

    assert read(folders.done / RUN).result is result
    assert (latches.latch(folders, "t") is not None) is holds
    assert ("t" in host.armed) is not holds
    assert not folders.running("t").exists()


@pytest.mark.parametrize("ending", [case[0] for case in CASES])
def test_a_stop_that_was_meant_is_never_a_failure(folders, host, ending):
    host.endings["t"] = ending
    files.write(folders.stopping("t"), RUN)

    assert verdict.settle(folders, host, "t") is Result.STOPPED
    assert latches.latch(folders, "t") is None


def test_a_run_that_goes_on_is_left_alone(folders, host):
    host.endings["t"] = Ending(is_active=True, run=RUN)

    assert verdict.settle(folders, host, "t") is None
    assert folders.running("t").exists()


def test_a_run_that_begins_while_it_is_looked_for_is_no_damaged_file(folders, host, monkeypatch):
    folders.damaged.mkdir(exist_ok=True)

    def ended(slug):
        folders.running(slug).unlink(missing_ok=True)
        return Ending()

    host.ending = ended
    monkeypatch.setattr(running, "running_entry", lambda *_: None)  # it was not there yet

    assert verdict.settle(folders, host, "t") is None
    assert list(folders.damaged.iterdir()) == []


def test_a_damaged_file_of_a_run_is_put_aside(folders, host):
    files.write(folders.running("t"), "k")

    assert verdict.settle(folders, host, "t") is None
    assert [path.read_text() for path in folders.damaged.iterdir()] == ["k"]
    assert not folders.running("t").exists()


def test_judging_twice_changes_nothing(folders, host):
    host.endings["t"] = Ending(run=RUN, result="signal", by_signal=True, status=9)
    verdict.settle(folders, host, "t")
    first = (folders.done / RUN).read_text()

    assert verdict.settle(folders, host, "t") is None
    assert (folders.done / RUN).read_text() == first


def test_a_task_that_shall_continue_is_not_held(folders, host):
    record = {"schedule": {"policy": {"on_failure": "continue"}}}
    (folders.builds("t") / "b1" / "build.json").write_text(json.dumps(record))
    host.endings["t"] = Ending(run=RUN, result="signal", by_signal=True, status=9)

    verdict.settle(folders, host, "t")

    assert latches.latch(folders, "t") is None
    assert "t" in host.armed


def test_a_latch_that_cannot_be_written_disables_the_task_instead(folders, host):
    folders.held("t").parent.rmdir()
    host.endings["t"] = Ending(run=RUN, result="signal", by_signal=True, status=9)

    verdict.settle(folders, host, "t")

    assert not host.is_enabled("t")
    assert "t" not in host.armed


def test_a_run_that_failed_on_a_full_disk_is_recorded_once_there_is_room(folders, host):
    running.end_run(folders, "t", RUN, Result.SUCCEEDED)
    failed = "c" * 32
    folders.held("t").touch()
    host.endings["t"] = Ending(run=failed, result="exit-code", status=1)

    assert verdict.settle_unborn(folders, host, "t", lambda run: False) is Result.FAILED

    assert "while the disk was full" in read(folders.done / failed).error
    assert latches.latch(folders, "t").id == failed


def test_a_run_that_never_began_is_recorded_once_and_holds(folders, host):
    running.end_run(folders, "t", RUN, Result.SUCCEEDED)
    unborn = "c" * 32
    host.endings["t"] = Ending(run=unborn, result="exit-code", status=203)

    assert verdict.settle_unborn(folders, host, "t", lambda run: False) is Result.FAILED

    entry = read(folders.done / unborn)
    assert (entry.result, entry.attempts, entry.status) == (Result.FAILED, 0, 203)
    assert "interpreter" in latches.latch(folders, "t").error
    assert verdict.settle_unborn(folders, host, "t", lambda run: False) is None


@pytest.mark.parametrize(
    "ending", [Ending(run=RUN), Ending(is_active=True, run=RUN, result="exit-code", status=1)]
)
def test_what_did_not_fail_is_no_unborn_run(folders, host, ending):
    host.endings["t"] = ending

    assert verdict.settle_unborn(folders, host, "t", lambda run: False) is None


def test_a_failed_run_that_the_database_knows_is_no_unborn_run(folders, host):
    running.end_run(folders, "t", RUN, Result.FAILED)
    (folders.done / RUN).unlink()
    host.endings["t"] = Ending(run=RUN, result="exit-code", status=1)

    assert verdict.settle_unborn(folders, host, "t", lambda run: run == RUN) is None
