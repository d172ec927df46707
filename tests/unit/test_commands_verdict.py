"""What the failure handler makes of the units that failed."""

from __future__ import annotations

import threading
import time

import pytest

from keiji import files, latches
from keiji.commands import verdict
from keiji.folders import Folders
from keiji.host import Ending
from keiji.locks import task_lock
from keiji.run import Result
from keiji.testing import MemoryHost, broken

SLUGS = ("a", "b", "c")


def text_of(slug):
    return (
        f"keiji 1\nid={slug * 32}\ntask={slug}\nbuild=b1\npid=1\nboot=boot-1\nwhy=timer\n"
        "began=1795000000.000000\n"
    )


@pytest.fixture
def folders(tmp_path):
    folders = Folders(tmp_path / "keiji", tmp_path / ".keiji")
    for folder in folders.made():
        folder.mkdir(parents=True, exist_ok=True)
    return folders


@pytest.fixture
def host(folders):
    """Three armed tasks, each with a run that was killed."""
    host = MemoryHost(folders)
    for slug in SLUGS:
        for path in host.unit_files(slug):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        files.write(folders.running(slug), text_of(slug))
        host.units[slug] = True
        host.armed.add(slug)
        host.endings[slug] = Ending(run=slug * 32, result="signal", by_signal=True, status=9)
    return host


def held(folders):
    return [slug for slug in SLUGS if latches.latch(folders, slug)]


def test_every_failed_task_is_judged_and_held(folders, host):
    assert verdict.judge_all(folders, host) == []

    assert held(folders) == [*SLUGS]
    assert not host.armed


def test_a_task_that_rests_after_its_failure_is_not_judged_again(folders, host):
    verdict.judge_all(folders, host)
    said = len(host.logged)

    verdict.judge_all(folders, host)

    assert len(host.logged) == said


def test_a_task_that_the_runner_held_itself_has_its_timer_stopped(folders, host):
    folders.running("a").unlink()
    latches.write_latch(folders, "a", "a" * 32, Result.FAILED, "boom")

    verdict.judge_all(folders, host)

    assert "a" not in host.armed


def test_a_task_that_is_being_changed_is_judged_when_it_is_let_go_and_keeps_no_other_waiting(folders, host):
    judging = threading.Thread(target=verdict.judge_all, args=(folders, host))
    with task_lock(folders, "a"):
        judging.start()
        deadline = time.monotonic() + 10
        while held(folders) != ["b", "c"] and time.monotonic() < deadline:
            time.sleep(0.01)
        assert held(folders) == ["b", "c"]
    judging.join(10)

    assert held(folders) == [*SLUGS]


def test_what_cannot_be_judged_is_told_and_the_others_are_judged(folders, host, monkeypatch):
    ending = host.ending
    monkeypatch.setattr(host, "ending", lambda slug: _raise() if slug == "a" else ending(slug))

    (problem,) = verdict.judge_all(folders, host)

    assert problem.startswith("a: ")
    assert held(folders) == ["b", "c"]


def _raise():
    raise broken()


def test_a_deleted_task_is_left_alone(folders, host):
    for path in host.unit_files("a"):
        path.unlink()

    verdict.judge_all(folders, host)

    assert held(folders) == ["b", "c"]
