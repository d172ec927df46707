"""Delivering when something is wrong: files that are none, kills at any moment, interrupts, many files."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress

import pytest
from recording import an_entry, ended, leave, new_home, ready_store, run_python, start_python

from keiji import delivering, ledger, running
from keiji.errors import StoreUnavailable
from keiji.ledger import Delivery, deliver
from keiji.runfile import render
from keiji.testing import MemoryHost

_READER = """
import sys
from pathlib import Path
from keiji import ledger
from keiji.folders import Folders
from recording import *
folders = Folders(Path(sys.argv[1]), Path(sys.argv[2]))
ledger.BATCH = 5
is_led = "led" in sys.argv


def tell(said):
    print(said, flush=True)
    if is_led:
        sys.stdin.readline()


tell("ready")
with open_store(settings_of(folders)) as store:
    ledger.deliver(folders, store, progress=tell)
"""
_PEAK = """
import resource, sys
from pathlib import Path
from keiji import ledger
from keiji.folders import Folders
from recording import *
folders, waiting = Folders(Path(sys.argv[1]), Path(sys.argv[2])), int(sys.argv[3])
text = render(ended(an_entry(0)))
for number in range(1, waiting + 1):
    (folders.done / an_entry(number).id).write_text(text.replace(an_entry(0).id, an_entry(number).id))
with open_store(Settings(folders)) as store:
    assert ledger.deliver(folders, store).delivered == waiting
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.fixture
def folders(tmp_path):
    return new_home(tmp_path)


@pytest.fixture
def store(folders):
    with ready_store(folders, "ping", "other") as store:
        yield store


@pytest.fixture
def either(settle, folders):
    """A store in SQLite, then one in PostgreSQL."""
    with ready_store(settle(folders), "ping") as store:
        yield store


def _recorded(store, slug="ping"):
    return sorted(int(run.id, 16) for run in store.runs(slug))


_DAMAGES = {
    "empty": lambda path: path.touch(),
    "torn": lambda path: path.write_text(render(ended(an_entry(9)))[:-9]),
    "blocks of zeros": lambda path: path.write_bytes(bytes(4096)),
    "binary": lambda path: path.write_bytes(random.Random(1).randbytes(9000)),
    "huge": lambda path: path.write_text(render(ended(an_entry(9))) + "x" * 5_000_000),
    "another version": lambda path: path.write_text(render(ended(an_entry(9))).replace("keiji 1", "keiji 2")),
    "a folder": lambda path: path.mkdir(),
    "a full folder": lambda path: (path / "x").mkdir(parents=True),
    "a link": lambda path: path.symlink_to("/etc/passwd"),
    "a dangling link": lambda path: path.symlink_to("gone"),
    "a pipe": os.mkfifo,
}


@pytest.mark.parametrize("damage", _DAMAGES.values(), ids=_DAMAGES)
def test_what_is_no_run_file_is_set_aside_once_and_the_rest_is_delivered(folders, store, damage):
    leave(folders, 1, 2)
    damage(folders.done / "broken")

    assert deliver(folders, store) == Delivery(2, (folders.damaged / "broken",))
    assert os.path.lexists(folders.damaged / "broken")
    assert [*folders.done.iterdir()] == []
    assert deliver(folders, store) == Delivery()


def test_what_may_not_be_read_is_set_aside(folders, store, monkeypatch):
    leave(folders, 1, 2)
    read = ledger.read

    def forbidden(path):
        if path.name == an_entry(2).id:
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(ledger, "read", forbidden)

    assert deliver(folders, store) == Delivery(1, (folders.damaged / an_entry(2).id,))


def test_what_is_no_file_does_not_keep_a_task_from_running(folders, store):
    folders.running("ping").mkdir()

    assert deliver(folders, store) == Delivery(0, (folders.damaged / "ping",))
    assert running.slugs(folders) == []


def test_damaged_files_of_one_name_are_all_kept(folders, store):
    for text in ("a", "b", "c"):
        (folders.done / "broken").write_text(text)
        deliver(folders, store)

    assert sorted(path.read_text() for path in folders.damaged.iterdir()) == ["a", "b", "c"]


def test_many_damaged_files_are_told_in_few_lines(folders, store, capsys):
    for number in range(40):
        (folders.done / f"broken{number}").touch()

    delivering.deliver(MemoryHost(folders), store)

    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert "a damaged run file was set aside: " in lines[0]
    assert lines[3] == f"note: so were 37 more: see {folders.damaged}"
    delivering.deliver(MemoryHost(folders), store)
    assert capsys.readouterr().err == ""


def test_a_damaged_file_is_told_though_the_database_is_away(folders, store, capsys):
    (folders.done / "broken").touch()
    (folders.done / "folder").mkdir()
    leave(folders, 1)
    store.close()
    folders.database.unlink()

    with pytest.raises(StoreUnavailable):
        delivering.deliver(MemoryHost(folders), store)

    assert capsys.readouterr().err.count("a damaged run file was set aside") == 2


def test_two_readers_that_are_killed_again_and_again_lose_nothing_and_double_nothing(folders, either):
    count, chance = 120, random.Random(7)
    leave(folders, *range(1, count + 1))
    kills = 0
    while [*folders.done.iterdir()]:
        readers = [start_python(_READER, folders.workspace, folders.home, "led") for _ in range(2)]
        for reader in readers:
            for _ in range(chance.randint(1, 6)):  # some while they start, some after so many batches
                reader.stdout.readline()
                _lead(reader)
        time.sleep(chance.random() * 0.01)  # into whatever the next step is
        for reader in readers:
            reader.send_signal(signal.SIGKILL)
        kills += sum(reader.wait() == -signal.SIGKILL for reader in readers)
        for reader in readers:
            reader.communicate()

    assert kills >= 4
    assert _recorded(either) == list(range(1, count + 1))


def _lead(reader):
    """Let the reader take its next step, if it is still there."""
    with suppress(BrokenPipeError):
        reader.stdin.write("\n")
        reader.stdin.flush()


def test_a_reader_that_is_interrupted_leaves_the_rest_for_the_next(folders, either):
    leave(folders, *range(1, 2001))
    reader = start_python(_READER, folders.workspace, folders.home)
    for _ in range(3):
        reader.stdout.readline()

    reader.send_signal(signal.SIGINT)
    reader.communicate(timeout=60)

    assert reader.returncode == -signal.SIGINT
    recorded = len(_recorded(either))
    assert 0 < recorded < 2000
    assert deliver(folders, either).delivered == 2000 - recorded
    assert _recorded(either) == list(range(1, 2001))


def test_ten_thousand_are_delivered_in_as_much_memory_as_a_thousand(tmp_path):
    peaks = []
    for waiting in (1_000, 10_000):
        folders = new_home(tmp_path / str(waiting))
        ready_store(folders, "ping").close()
        peaks.append(int(run_python(_PEAK, folders.workspace, folders.home, waiting)))

    few, many = peaks
    assert many < few + 4096  # KiB


def test_a_terminal_is_shown_how_far_a_long_delivery_is(folders, store, monkeypatch, capsys):
    monkeypatch.setattr(ledger, "BATCH", 10)
    leave(folders, *range(1, 36))
    monkeypatch.setattr(delivering.sys.stderr, "isatty", lambda: True, raising=False)

    delivering.deliver(MemoryHost(folders), store)

    said = capsys.readouterr().err.split("\r\x1b[K")
    assert said[1:] == [f"delivering records of runs: {seen} of 35" for seen in (10, 20, 30)] + [""]


def test_a_short_delivery_shows_nothing(folders, store, monkeypatch, capsys):
    leave(folders, 1, 2)
    monkeypatch.setattr(delivering.sys.stderr, "isatty", lambda: True, raising=False)

    delivering.deliver(MemoryHost(folders), store)

    assert capsys.readouterr().err == ""
