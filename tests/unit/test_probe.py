"""The probe of launchd, and its comparison with the stand-in, tried on the stand-in itself."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import launchd_sockets
import pytest
from fake_launchd import FakeLaunchd

MACOS = Path(__file__).resolve().parents[2] / "packaging" / "macos"
WAIT = 120  # seconds until a probe that hangs is given up
USUAL = [
    *("life-cycle", "stubborn", "twice", "disabled", "mode", "user-domain", "ends", "missing-program"),
    *("sockets", "interval", "calendar"),
]


class Mac:
    def __init__(self, folder: Path) -> None:
        self.fake = FakeLaunchd(folder / "launchd")
        self.fake.set(others={"StartInterval"}, patience=0.1)
        self.home = folder / "home"
        self.home.mkdir()
        self.file = folder / "record.json"
        self.environ = {"HOME": str(self.home), "PATH": f"{self.fake.bin}:/usr/bin:/bin"}

    def begin(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(MACOS / "probe"), "--record", str(self.file), *words],
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def probe(self, *words: str, status: int = 0) -> str:
        process = self.begin(*words)
        try:
            said, _ = process.communicate(timeout=WAIT)
        finally:
            process.kill()
        assert process.returncode == status, said
        return said

    def record(self) -> dict[str, Any]:
        found = json.loads(self.file.read_text())
        assert isinstance(found, dict)
        return found

    def is_clean(self) -> bool:
        state = self.fake.state
        return not (state["jobs"] or any(state["disabled"].values()) or [*self.home.iterdir()])


@pytest.fixture
def mac(tmp_path: Path) -> Iterator[Mac]:
    found = Mac(tmp_path)
    yield found
    found.fake.close()
    assert found.fake.state["breaches"] == []


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mac]:
    """All usual steps have been taken."""
    found = Mac(tmp_path_factory.mktemp("probed"))
    try:
        found.said = found.probe("--quick")  # type: ignore[attr-defined]
        yield found
    finally:
        found.fake.close()


def step(record: dict[str, Any], name: str) -> dict[str, Any]:
    return next(step for step in record["steps"] if step["name"] == name)


def answers(record: dict[str, Any], name: str, verb: str) -> list[int]:
    return [call["rc"] for call in step(record, name)["calls"] if call["argv"][1] == verb]


def compare(record: dict[str, Any], tmp_path: Path) -> tuple[int, list[str]]:
    file = tmp_path / "held.json"
    file.write_text(json.dumps(record))
    words = [sys.executable, str(MACOS / "compare"), str(file)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=WAIT, check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, done.stdout.splitlines()


def test_every_step_is_recorded_with_all_its_calls_and_told_in_a_line(probed: Mac) -> None:
    record = probed.record()

    assert [each["name"] for each in record["steps"]] == USUAL
    calls = [call for each in record["steps"] for call in each["calls"]]
    assert all(call["met"] and call["seconds"] >= 0 for call in calls)
    assert [line.partition(":")[0] for line in probed.said.splitlines()] == [*USUAL, "probe"]  # type: ignore[attr-defined]
    assert not any("failed" in each for each in record["steps"])


def test_nothing_is_left_and_launchctl_is_called_as_the_stand_in_wants_it(probed: Mac) -> None:
    assert probed.is_clean()
    assert probed.fake.state["breaches"] == []
    assert all("io.keiji.probe." in call for call in probed.fake.calls("boot"))


def test_the_life_of_an_agent_is_recorded_from_beginning_to_end(probed: Mac) -> None:
    record = probed.record()

    assert answers(record, "life-cycle", "bootout") == [0, 3, 3]
    assert answers(record, "life-cycle", "print")[-1] == 113
    assert answers(record, "life-cycle", "list") == [0, 0, 0, 113]
    assert answers(record, "life-cycle", "kill") == [0, 3, 113]
    enabled = [call for call in step(record, "life-cycle")["calls"] if call["argv"][1] == "print-disabled"]
    assert [("=> disabled" in call["stdout"], "=> enabled" in call["stdout"]) for call in enabled] == [
        (True, False),
        (False, True),
    ]


def test_what_is_refused_is_recorded_with_its_words(probed: Mac) -> None:
    record = probed.record()

    for name, expected in {
        "stubborn": [0, 5, 0],
        "twice": [0, 5],
        "disabled": [5, 0],
        "mode": [5, 0],
        "user-domain": [0, 5, 5],
    }.items():
        assert answers(record, name, "bootstrap") == expected, name
    assert step(record, "twice")["calls"][1]["stderr"].startswith("Bootstrap failed: 5:")


def test_ends_are_recorded_as_print_and_list_tell_them(probed: Mac) -> None:
    record = probed.record()

    said = "".join(call["stdout"] for call in step(record, "ends")["calls"])
    assert "last exit code = 1\n" in said
    assert '"LastExitStatus" = 256;' in said
    assert "last terminating signal = Terminated: 15\n" in said
    assert '"LastExitStatus" = 15;' in said
    missing = "".join(call["stdout"] for call in step(record, "missing-program")["calls"])
    assert "78: EX_CONFIG" in missing


@pytest.mark.skipif(not launchd_sockets.library(), reason="needs a C compiler")
def test_a_connection_is_answered_by_the_agent_with_what_launchd_gave_it(probed: Mac) -> None:
    notes = step(probed.record(), "sockets")["notes"]

    assert "complaints" not in notes
    for name in ("first", "second"):
        assert (notes[name]["failure"], notes[name]["names"][0][0]) == (0, "127.0.0.1")
        assert notes[name]["again"]
        assert notes[name]["unknown"]


def test_labels_of_others_are_not_recorded(probed: Mac) -> None:
    assert "com.apple.x" not in probed.file.read_text()


def test_without_a_session_at_the_screen_nothing_is_done_and_all_is_well(mac: Mac) -> None:
    mac.fake.set(domains=["user"])

    said = mac.probe()

    assert said.count("\n") == 1
    assert "nobody is logged in at the screen" in said
    assert not mac.file.exists()
    assert mac.is_clean()


def test_without_launchctl_nothing_is_done_and_all_is_well(mac: Mac, tmp_path: Path) -> None:
    mac.environ["PATH"] = str(tmp_path)

    assert "there is no launchctl" in mac.probe()
    assert not mac.file.exists()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_who_interrupts_it_finds_nothing_left_and_what_was_recorded(
    mac: Mac, number: int, status: int
) -> None:
    process = mac.begin("--only", "twice,calendar")
    deadline = time.monotonic() + WAIT
    while not mac.fake.state["jobs"] or len(mac.fake.calls("bootstrap")) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.02)

    process.send_signal(number)

    process.communicate(timeout=WAIT)
    assert process.returncode == status
    assert mac.is_clean()
    assert [each["name"] for each in mac.record()["steps"]] == ["twice", "calendar"]


def test_a_step_that_fails_is_told_and_the_next_one_is_taken(mac: Mac) -> None:
    said = mac.probe("--quick", "--change-zone", "--only", "zone,twice", status=1)  # there is no sudo here

    record = mac.record()
    assert "failed" in step(record, "zone")
    assert "zone: 0 calls" in said
    assert answers(record, "twice", "bootstrap") == [0, 5]


def test_the_zone_is_changed_only_when_asked_for_and_always_changed_back(mac: Mac, tmp_path: Path) -> None:
    assert "--change-zone" in mac.probe("--only", "zone", status=2)
    sudo = mac.fake.bin / "sudo"
    sudo.write_text(f'#!/bin/sh\necho "$*" >> {tmp_path}/asked\necho "Time Zone: Europe/Berlin"\n')
    sudo.chmod(0o755)
    mac.fake.fault("bootstrap", 5, "Bootstrap failed: 5: Input/output error", times=2)

    mac.probe("--quick", "--change-zone", "--only", "zone")

    asked = (tmp_path / "asked").read_text().splitlines()
    changes = [line.split()[-1] for line in asked if "-settimezone" in line]
    assert changes == ["Asia/Tokyo", "Europe/Berlin"]
    assert mac.is_clean()


def test_the_stand_in_agrees_with_itself(probed: Mac, tmp_path: Path) -> None:
    assert compare(probed.record(), tmp_path) == (0, ["compare: launchd and its stand-in agree"])


def test_another_status_and_other_words_are_named_and_nothing_else(mac: Mac, tmp_path: Path) -> None:
    mac.probe("--quick", "--only", "twice,mode")
    record = mac.record()
    step(record, "twice")["calls"][1].update(
        rc=37, stderr="Bootstrap failed: 37: Operation already in progress\n"
    )
    step(record, "mode")["calls"][0]["stderr"] = "Bootstrap failed: 122: Path had bad ownership/permissions\n"

    status, lines = compare(record, tmp_path)

    assert status == 1
    assert len(lines) == 2
    assert lines[0].startswith("twice: launchctl bootstrap gui/UID LABEL.plist: launchd says 37 ")
    assert "the stand-in 5 'Bootstrap failed: 5: Input/output error" in lines[0]
    assert lines[1].startswith("mode: ")
