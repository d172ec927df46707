"""The walk that CI takes on a Mac, tried on the stand-in for launchd; the workflow names what is there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_launchd import FakeLaunchd

ROOT = Path(__file__).resolve().parents[2]
WALK = ROOT / "packaging" / "macos" / "walk"
PORTABLE = ROOT / "tests" / "portable"
WORKFLOW = ROOT / ".github" / "workflows" / "macos.yml"
WAIT = 180  # seconds until a walk that hangs is given up

needs_checkout = pytest.mark.skipif(not WORKFLOW.exists(), reason="needs a checkout")


class Mac:
    def __init__(self, folder: Path) -> None:
        self.fake = FakeLaunchd(folder / "launchd")
        self.home = folder / "home"
        self.home.mkdir()

    def walk(self) -> subprocess.CompletedProcess[str]:
        environ = {"HOME": str(self.home), "PATH": f"{self.fake.bin}:/usr/bin:/bin", "LANG": "C.UTF-8"}
        return subprocess.run(
            [str(WALK), "--quick", sys.executable, "-m", "keiji"],
            env={**environ, "KEIJI_HOST": "macos"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=WAIT,
            check=False,
        )


@pytest.fixture
def mac(tmp_path: Path) -> Iterator[Mac]:
    found = Mac(tmp_path)
    yield found
    found.fake.close()
    assert found.fake.state["breaches"] == []


def test_the_walk_goes_from_init_to_uninstall_and_leaves_nothing(mac: Mac) -> None:
    done = mac.walk()

    assert done.returncode == 0, done.stdout + done.stderr
    assert "the walk has come by" in done.stdout
    assert done.stdout.splitlines()[-1] == "walk: done"
    assert os.listdir(mac.home) == []
    assert mac.fake.state["jobs"] == {}


def test_a_walk_that_fails_says_so_and_leaves_nothing_either(mac: Mac) -> None:
    mac.fake.fault("kickstart", 113, "Could not find service", times=1000)

    done = mac.walk()

    assert done.returncode == 1
    assert "walk: failed" in done.stderr
    assert os.listdir(mac.home) == []
    assert mac.fake.state["jobs"] == {}


def test_without_a_session_at_the_screen_the_walk_does_nothing_and_all_is_well(mac: Mac) -> None:
    mac.fake.set(domains=["user"])

    done = mac.walk()

    assert (done.returncode, done.stderr) == (0, "")
    assert "nobody is logged in at the screen" in done.stdout
    assert os.listdir(mac.home) == []


@pytest.mark.parametrize("name", [".keiji", "keiji"])
def test_the_walk_is_refused_in_a_home_that_has_a_keiji(mac: Mac, name: str) -> None:
    (mac.home / name).mkdir()

    done = mac.walk()

    assert done.returncode == 1
    assert f"{mac.home / name} is there" in done.stderr
    assert mac.fake.calls("boot") == []
    assert (mac.home / name).is_dir()


def portable() -> list[str]:
    lines = PORTABLE.read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_the_list_of_portable_tests_is_in_order_and_names_files() -> None:
    names = portable()

    assert names == sorted(set(names))
    assert [name for name in names if not (ROOT / name).is_file()] == []


def test_portable_tests_need_no_glib() -> None:
    needs = re.compile(r"^(from gi|import gi|from looping)\b", re.MULTILINE)

    assert [name for name in portable() if needs.search((ROOT / name).read_text(encoding="utf-8"))] == []


@pytest.fixture
def workflow() -> Any:
    yaml = pytest.importorskip("yaml", reason="needs PyYAML")
    return yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))


def steps(workflow: Any) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


@needs_checkout
def test_the_workflow_runs_on_every_change_and_when_asked_for(workflow: Any) -> None:
    begins = workflow[True]  # what YAML makes of `on`

    assert set(begins) == {"push", "pull_request", "workflow_dispatch"}
    for job in workflow["jobs"].values():
        assert all(system.startswith("macos-") for system in job["strategy"]["matrix"]["os"])
        assert job["runs-on"] == "${{ matrix.os }}"
        assert job["timeout-minutes"] <= 30


@needs_checkout
def test_the_workflow_names_only_files_that_exist(workflow: Any) -> None:
    said = " ".join(step.get("run", "") for step in steps(workflow))

    named = set(re.findall(r"(?<![\w/.$-])(?:tests|packaging)/[\w./*-]+", said))
    assert {
        "packaging/macos/probe",
        "packaging/macos/compare",
        "packaging/macos/walk",
        "tests/portable",
    } <= named
    assert [name for name in sorted(named) if not [*ROOT.glob(name)]] == []


@needs_checkout
def test_actions_are_pinned_by_their_major_version(workflow: Any) -> None:
    used = [step["uses"] for step in steps(workflow) if "uses" in step]

    assert used
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+", name) for name in used)
