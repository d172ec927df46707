"""Latches hold a task after a failure."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recording import new_home

from keiji import latches
from keiji.latches import latch, write_latch
from keiji.run import Result


@pytest.fixture
def folders(tmp_path):
    return new_home(tmp_path)


def test_there_is_none_before_a_failure(folders):
    assert latch(folders, "ping") is None


@given(error=st.text() | st.text("\\n\n=\r"))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_was_written_is_read(folders, error):
    before = datetime.now(timezone.utc)
    write_latch(folders, "ping", "abc", Result.TIMED_OUT, error)

    read = latch(folders, "ping")
    assert (read.id, read.result, read.error) == ("abc", Result.TIMED_OUT, error)
    assert abs((read.at - before).total_seconds()) < 60


def test_a_later_latch_takes_the_place_of_an_earlier_one(folders):
    write_latch(folders, "ping", "abc", Result.FAILED, "first")
    write_latch(folders, "ping", "def", Result.KILLED, "second")

    assert latch(folders, "ping").error == "second"
    assert [path.name for path in folders.held("ping").parent.iterdir()] == ["ping"]


@pytest.mark.parametrize(
    "text", ["", "id=abc", "id=abc\nresult=", "id=abc\nresult=failed\nat=1e300\n", "\0\xff"]
)
def test_a_latch_that_says_nothing_sure_holds_all_the_same(folders, text):
    folders.held("ping").write_text(text, encoding="latin-1")

    read = latch(folders, "ping")
    assert read.result is Result.FAILED
    assert abs((read.at - datetime.now(timezone.utc)).total_seconds()) < 60
    assert read.id == ("abc" if "abc" in text else "")


def test_half_a_surrogate_pair_can_be_latched(folders):
    write_latch(folders, "ping", "abc", Result.FAILED, "\udcff")

    assert latch(folders, "ping").error == "\\udcff"


def test_on_a_full_disk_a_latch_that_says_nothing_holds(folders, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(latches.files, "write", full)

    write_latch(folders, "ping", "a" * 32, Result.FAILED, "ValueError: no")

    assert latch(folders, "ping").error == latches.NOTHING_SAID
