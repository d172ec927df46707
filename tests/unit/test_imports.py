"""Each module can be imported on either system, and says the same of schedules there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import keiji

HERE = Path(__file__).parent
PACKAGE = Path(keiji.__file__).parent
HARNESS = HERE.parent / "harness"
IMPORT_ALL = """\
import importlib, sys
if sys.argv[1] == "macos":
    import bare_mac
    bare_mac.become()
for name in sys.argv[2:]:
    importlib.import_module(name)
"""


def modules() -> list[str]:
    names = (path.relative_to(PACKAGE.parent).with_suffix("").parts for path in PACKAGE.rglob("*.py"))
    # Importing it would run it.
    return sorted(".".join(parts).removesuffix(".__init__") for parts in names if parts[-1] != "__main__")


def on(system: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *words],
        env={**os.environ, "PYTHONPATH": str(HARNESS), "KEIJI_HOST": system, "PYTEST_ADDOPTS": ""},
        cwd=HERE.parent.parent,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize("system", ["linux", "macos"])
def test_every_module_can_be_imported(system: str) -> None:
    done = on(system, "-c", IMPORT_ALL, system, *modules())

    assert (done.returncode, done.stderr) == (0, "")


def test_what_a_mac_has_not_is_missed_when_it_is_used() -> None:
    done = on("macos", "-c", "import bare_mac, os; bare_mac.become(); import posix; posix.fdatasync")

    assert "has no attribute 'fdatasync'" in done.stderr


def test_both_renderings_are_the_same_on_a_mac() -> None:
    """Units' and plists' golden files and the schedules, where only a Mac's functions are."""
    suites = ("test_units", "test_plists", "test_calendar", "test_schedule", "test_wallclock", "test_cron")
    done = on(
        "macos",
        *("-m", "pytest", "-q", "-p", "bare_mac", "-p", "no:cacheprovider", "-x"),
        *(f"tests/unit/{name}.py" for name in suites),
    )

    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert "passed" in done.stdout.splitlines()[-1]
