"""The templates are found wherever keiji is installed, and a template never renders half of its values."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import jinja2
import pytest

from keiji import rendering
from keiji.errors import KeijiError

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of templates that stands in for the project's."""
    monkeypatch.setattr(rendering, "templates", lambda wing: tmp_path)
    rendering._environment.cache_clear()
    yield tmp_path
    rendering._environment.cache_clear()


def test_a_checkout_has_its_templates_beside_the_package() -> None:
    assert rendering.templates("units") == CHECKOUT / "units"
    assert rendering.templates("launchd") == CHECKOUT / "launchd"


def test_templates_inside_the_package_win_over_a_stranger_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In site-packages a folder called `units` would be some other package's."""
    inside = tmp_path / "keiji" / "_templates" / "units"
    inside.mkdir(parents=True)
    (tmp_path / "units").mkdir()
    monkeypatch.setattr(rendering, "__file__", str(tmp_path / "keiji" / "rendering.py"))

    assert rendering.templates("units") == inside


def test_an_installation_without_templates_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendering, "__file__", str(tmp_path / "keiji" / "rendering.py"))

    with pytest.raises(KeijiError, match="installation is incomplete"):
        rendering.templates("units")


def test_a_value_that_is_not_given_is_an_error(folder: Path) -> None:
    (folder / "a.j2").write_text("Description={{ description }}\n")

    with pytest.raises(jinja2.UndefinedError, match="description"):
        rendering.render("units", "a.j2")


def test_lines_of_control_leave_no_line_behind_and_the_last_new_line_stays(folder: Path) -> None:
    (folder / "a.j2").write_text("[Timer]\n{% for time in times %}\n  OnCalendar={{ time }}\n{% endfor %}\n")

    assert rendering.render("units", "a.j2", times=["1", "2"]) == "[Timer]\n  OnCalendar=1\n  OnCalendar=2\n"


def test_a_wing_brings_its_own_filters(folder: Path) -> None:
    (folder / "a.j2").write_text("{{ text | twice }}")

    assert rendering.render("units", "a.j2", filters={"twice": lambda text: text * 2}, text="ab") == "abab"


def test_jinja_is_not_imported_before_something_is_rendered() -> None:
    code = (
        "import sys, keiji.rendering; keiji.rendering.templates('units'); sys.exit('jinja2' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, check=False).returncode == 0
