"""One version in all places, and the script that writes it there."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import keiji

ROOT = Path(__file__).parents[2]
CHANGES = """\
# Changelog

## [Unreleased]

### Added

- `keiji fly` flies,
  and lands.

### Fixed

- Wings hold.

## [1.2.3] - 2026-01-02

- Feathers.
"""
BEFORE = "keiji (1.2.3) unstable; urgency=medium\n\n  * Feathers.\n\n -- Ada <ada@keiji.example>  today\n"
# 2026-11-23, as the build of a package names a moment
MOMENT = "1795392000"


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """The places that tell the version, which is 1.2.3."""
    for folder in ("keiji", "debian", "packaging"):
        (tmp_path / folder).mkdir()
    shutil.copy(ROOT / "packaging" / "release", tmp_path / "packaging")
    (tmp_path / "keiji/__init__.py").write_text('"""A docstring."""\n\n__version__ = "1.2.3"\n')
    (tmp_path / "debian/control").write_text("Source: keiji\nMaintainer: Ada <ada@keiji.example>\n")
    (tmp_path / "debian/changelog").write_text(BEFORE)
    (tmp_path / "CHANGELOG.md").write_text(CHANGES)
    return tmp_path


def release(sources: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, sources / "packaging" / "release", *words],
        env={"SOURCE_DATE_EPOCH": MOMENT},
        capture_output=True,
        text=True,
        check=False,
    )


def told(sources: Path) -> dict[str, str]:
    names = ("keiji/__init__.py", "debian/changelog", "CHANGELOG.md")
    return {name: (sources / name).read_text() for name in names}


def test_all_places_tell_the_same_version() -> None:
    debian = (ROOT / "debian" / "changelog").read_text()
    released = re.findall(r"^## \[(\d\S*)\]", (ROOT / "CHANGELOG.md").read_text(), re.M)

    assert debian.startswith(f"keiji ({keiji.__version__}) ")
    assert released[:1] in ([], [keiji.__version__])


def test_a_release_is_written_into_all_of_them(sources: Path) -> None:
    done = release(sources, "1.3.0")

    assert (done.returncode, done.stderr) == (0, "")
    assert told(sources) == {
        "keiji/__init__.py": '"""A docstring."""\n\n__version__ = "1.3.0"\n',
        "CHANGELOG.md": CHANGES.replace("## [Unreleased]\n", "## [Unreleased]\n\n## [1.3.0] - 2026-11-23\n"),
        "debian/changelog": (
            "keiji (1.3.0) unstable; urgency=medium\n\n"
            "  * keiji fly flies, and lands.\n  * Wings hold.\n\n"
            " -- Ada <ada@keiji.example>  Mon, 23 Nov 2026 00:00:00 +0000\n\n" + BEFORE
        ),
    }


def test_the_first_release_takes_the_place_of_the_entry_that_announced_it(sources: Path) -> None:
    changes = CHANGES.partition("## [1.2.3]")[0]
    (sources / "CHANGELOG.md").write_text(changes)

    assert release(sources, "1.2.3").returncode == 0
    assert told(sources)["debian/changelog"].count("keiji (1.2.3)") == 1
    assert "Wings hold." in told(sources)["debian/changelog"]


@pytest.mark.parametrize(
    ("version", "problem"),
    [
        ("1.2.3", "does not come after 1.2.3"),
        ("1.2.2", "does not come after 1.2.3"),
        ("0.10.0", "does not come after 1.2.3"),
        ("1.3", "is no version"),
        ("v1.3.0", "is no version"),
        ("01.3.0", "is no version"),
    ],
)
def test_what_is_no_next_version_is_refused_and_nothing_is_written(
    sources: Path, version: str, problem: str
) -> None:
    before = told(sources)

    refused = release(sources, version)

    assert refused.returncode == 1
    assert problem in refused.stderr
    assert told(sources) == before


def test_what_comes_before_the_sources_own_version_is_refused(sources: Path) -> None:
    (sources / "CHANGELOG.md").write_text("# Changelog\n\n## [Unreleased]\n\n- All of it.\n")
    before = told(sources)

    refused = release(sources, "0.9.0")

    assert "comes before 1.2.3" in refused.stderr
    assert told(sources) == before


def test_without_anything_to_release_it_is_refused(sources: Path) -> None:
    release(sources, "1.3.0")
    before = told(sources)

    refused = release(sources, "1.4.0")

    assert "nothing unreleased" in refused.stderr
    assert told(sources) == before
