"""Log files are written by several processes at a time, are rotated, and lose no line."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keiji import runner_files
from keiji.logreading import opened
from keiji.runner_files import KEPT, LogFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "demo").mkdir()
    return tmp_path / "demo" / "task.log"


def log_file(path: Path, limit: int = 0) -> LogFile:
    return LogFile(str(path), limit, str(path.parent.parent))


def written(path: Path) -> list[bytes]:
    """All lines of the log and its old files, the oldest first."""
    with opened(path) as pieces:
        return [line for piece in pieces for line in piece.file.read().splitlines(keepends=True)]


def numbered(*numbers: int) -> list[bytes]:
    return [b"line %04d\n" % number for number in numbers]


def test_a_log_is_private(path: Path) -> None:
    log_file(path).write([b"x\n"])

    assert path.stat().st_mode & 0o777 == 0o600


def test_a_log_never_becomes_larger_than_its_limit(path: Path) -> None:
    log = log_file(path, 35)
    for number in range(8):
        assert log.write(numbered(number)) == []

    assert path.stat().st_size <= 35
    assert written(path) == numbered(*range(8))


def test_many_lines_at_once_are_spread_over_files(path: Path) -> None:
    log_file(path, 35).write(numbered(*range(12)))

    assert written(path) == numbered(*range(12))
    assert max(file.stat().st_size for file in path.parent.iterdir()) <= 35


def test_five_old_files_are_kept(path: Path) -> None:
    log_file(path, 10).write(numbered(*range(20)))

    assert sorted(file.name for file in path.parent.iterdir()) == [
        "task.log",
        *(f"task.log.{n}" for n in range(1, KEPT + 1)),
    ]
    assert written(path) == numbered(*range(14, 20))


def test_a_line_longer_than_the_limit_has_a_file_of_its_own(path: Path) -> None:
    log_file(path, 5).write([b"long enough\n", b"another one\n"])

    assert path.read_bytes() == b"another one\n"
    assert path.with_name("task.log.1").read_bytes() == b"long enough\n"


def test_without_a_limit_nothing_is_rotated(path: Path) -> None:
    log_file(path, 0).write(numbered(*range(50)))

    assert [file.name for file in path.parent.iterdir()] == ["task.log"]


def test_who_finds_the_file_rotated_by_another_writes_to_the_new_one(path: Path) -> None:
    ours, theirs = log_file(path, 25), log_file(path, 25)
    ours.write(numbered(1))
    theirs.write(numbered(2, 3))
    ours.write(numbered(4))

    assert path.read_bytes() == b"".join(numbered(3, 4))


def test_a_gap_that_a_killed_rotation_left_is_filled_and_nothing_dropped(path: Path) -> None:
    for name, number in (("task.log", 5), ("task.log.1", 4), ("task.log.3", 3), ("task.log.4", 2)):
        path.with_name(name).write_bytes(numbered(number)[0])
    log_file(path, 10).write(numbered(6))

    assert written(path) == numbered(2, 3, 4, 5, 6)


def test_the_piece_that_a_killed_writer_left_stays_a_line_of_its_own(path: Path) -> None:
    path.write_bytes(b"half of a li")
    log_file(path).write(numbered(1))

    assert path.read_bytes() == b"half of a li\nline 0001\n"


def test_a_deleted_log_is_made_anew_with_its_folder(path: Path) -> None:
    log = log_file(path)
    log.write(numbered(1))
    shutil.rmtree(path.parent)
    log.write(numbered(2))

    assert path.read_bytes() == numbered(2)[0]


def test_the_log_of_a_deleted_task_is_not_made_anew(path: Path) -> None:
    log = LogFile(str(path), 0, str(path.parent.parent / "builds"))
    shutil.rmtree(path.parent)

    assert log.write(numbered(1)) == numbered(1)
    assert isinstance(log.problem, FileNotFoundError)
    assert not path.parent.exists()


def test_on_a_full_disk_no_line_is_torn_and_none_lost_that_is_handed_back(path: Path) -> None:
    log = log_file(path)
    ours, theirs = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (25, theirs))
    try:
        left = log.write(numbered(1, 2, 3))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (ours, theirs))

    assert (path.read_bytes(), left) == (b"".join(numbered(1, 2)), numbered(3))
    assert log.problem is not None
    assert log.write(left) == []
    assert written(path) == numbered(1, 2, 3)


def test_a_frozen_holder_of_the_lock_keeps_nobody_from_writing(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    monkeypatch.setattr(runner_files, "_PATIENCE", 0.05)
    folder = os.open(path.parent, os.O_RDONLY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    try:
        assert log_file(path, 10).write(numbered(1, 2)) == []
    finally:
        os.close(folder)

    assert written(path) == numbered(1, 2)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 60)), max_size=40), st.integers(0, 100))
def test_whoever_writes_what_the_last_lines_are_there_in_order(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[tuple[bool, int]], limit: int
) -> None:
    path = tmp_path_factory.mktemp("logs") / "demo" / "task.log"
    logs = [log_file(path, limit), log_file(path, limit)]
    said = [str(number).encode() * size + b"\n" for number, (_, size) in enumerate(sizes)]
    for (is_second, _), line in zip(sizes, said, strict=True):
        assert logs[is_second].write([line]) == []
    for log in logs:
        log.close()

    found = written(path) if path.parent.exists() else []

    assert found == said[len(said) - len(found) :]
    assert len(found) >= min(len(said), KEPT + 1 if limit else len(said))


WRITER = """
import os, sys
from keiji.runner_files import LogFile
path, limit, name, count = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
log = LogFile(path, limit, os.path.dirname(path))
for number in range(count):
    line = f"{name} {number} {'x' * (number * 37 % 200)} end\\n".encode()
    assert log.write([line]) == [], log.problem
    if len(sys.argv) > 5:
        print(number, flush=True)
"""


def start_writer(path: Path, limit: int, name: str, count: int, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", WRITER, str(path), str(limit), name, str(count), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE if more else None)


def test_many_processes_that_rotate_write_each_line_once(path: Path) -> None:
    """The limit is such that five old files hold all."""
    writers = [start_writer(path, 60_000, f"w{n}", 300) for n in range(6)]
    assert [writer.wait() for writer in writers] == [0] * 6

    lines = Counter(line.split(b" x")[0].split(b" end")[0].strip() for line in written(path))

    assert set(lines.values()) == {1}
    assert len(lines) == 6 * 300
    assert path.with_name("task.log.1").exists()


def test_writers_that_are_killed_lose_and_double_no_line_that_was_written(path: Path) -> None:
    """Each kill comes at another moment, amid a rotation, too: one for every few lines."""
    steady = start_writer(path, 8_000, "steady", 150)
    told = {}
    for n in range(8):
        writer = start_writer(path, 8_000, f"k{n}", 10_000, "tell")
        assert writer.stdout is not None
        for _ in range(random.randrange(1, 20)):
            told[n] = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        told[n] = max([told[n], *map(int, writer.stdout.read().split())])
        writer.wait()
        assert_whole_and_once(path)
    assert steady.wait() == 0
    assert_whole_and_once(path)


def assert_whole_and_once(path: Path) -> None:
    lines = written(path)
    whole = [line for line in lines if line.endswith(b" end\n")]
    assert len(whole) == len(set(whole))
    # What a killed writer's last line left is one piece at most for each.
    assert len(lines) - len(whole) <= 9
    by_writer: dict[bytes, list[int]] = {}
    for line in whole:
        name, number = line.split()[:2]
        by_writer.setdefault(name, []).append(int(number))
    for numbers in by_writer.values():  # old ones may have been dropped by age, none from between
        assert numbers == list(range(numbers[0], numbers[-1] + 1))


@given(st.text())
def test_a_quoted_text_is_one_line(text: str) -> None:
    assert len(runner_files.quote(text).splitlines()) == 1


@pytest.mark.parametrize(
    ("zone", "stamp"),
    [
        ("Africa/Nairobi", "2026-11-23T13:31:57.164+03:00"),
        ("America/St_Johns", "2026-11-23T07:01:57.164-03:30"),
        ("UTC", "2026-11-23T10:31:57.164+00:00"),
    ],
)
def test_a_stamp_has_the_zone_of_the_process(zone: str, stamp: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        assert runner_files.stamp(1795429917.1641) == stamp
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", (1048576, "")),
        ("LOG_MAX_SIZE=10\nTIME_ZONE='Africa/Nairobi' # home\n", (10, "Africa/Nairobi")),
        ("ROTATE_LOGS=0\nLOG_MAX_SIZE=10\n", (0, "")),
        ("LOG_MAX_SIZE=0\n", (0, "")),
        ("LOG_MAX_SIZE=lots\nROTATE_LOGS=maybe\n", (1048576, "")),
        ("#LOG_MAX_SIZE=10\n", (1048576, "")),
        (f"LOG_MAX_SIZE={'9' * 5000}\n", (1048576, "")),
        ("TIME_ZONE=Africa\0/Nairobi\n", (1048576, "")),
    ],
)
def test_settings_say_how_large_a_log_may_become(tmp_path: Path, text: str, wanted: tuple[int, str]) -> None:
    (tmp_path / "settings.conf").write_text(text)

    assert runner_files.wanted(str(tmp_path / "settings.conf")) == wanted


def test_settings_that_are_a_pipe_keep_nobody_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "settings.conf")

    assert runner_files.wanted(str(tmp_path / "settings.conf")) == (1048576, "")


def test_without_settings_the_defaults_hold(tmp_path: Path) -> None:
    assert runner_files.wanted(str(tmp_path / "none")) == (1048576, "")
