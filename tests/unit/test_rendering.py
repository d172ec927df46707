"""The templates are found wherever keiji is installed, and a template never renders half of its values."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import jinja2
import markupsafe
import pytest

from keiji import rendering
from keiji.errors import KeijiError

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
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


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment that holds keiji's wheel, and the libraries of this one."""
    base = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", base, CHECKOUT], check=True)
    (wheel,) = base.glob("keiji-*.whl")
    venv.create(base / "venv", symlinks=True)
    python = base / "venv" / "bin" / "python"
    where = "import site; print(site.getsitepackages()[0])"
    folder = subprocess.check_output([python, "-c", where], text=True).strip()
    # pip of this environment serves the new one, which so needs no network
    subprocess.run([*pip, "install", "--no-deps", "--target", folder, wheel], check=True)
    libraries = {str(Path(module.__file__).parents[1]) for module in (jinja2, markupsafe)}
    Path(folder, "libraries.pth").write_text("\n".join(libraries))
    return python


def test_a_wheel_carries_every_template_and_renders_from_there(installed: Path, tmp_path: Path) -> None:
    code = (
        "import json, keiji; from keiji import rendering; wings = ('units', 'launchd');"
        "names = {wing: sorted(path.name for path in rendering.templates(wing).iterdir()) for wing in wings};"
        "print(json.dumps([keiji.__file__, names, rendering.render('units', 'keiji.target')]))"
    )
    answer = subprocess.check_output([installed, "-c", code], cwd=tmp_path, text=True)
    package, names, target = json.loads(answer)

    assert Path(package).is_relative_to(installed.parents[1])
    assert names == {
        wing: sorted(path.name for path in (CHECKOUT / wing).iterdir()) for wing in ("units", "launchd")
    }
    assert target == (CHECKOUT / "units" / "keiji.target").read_text()
