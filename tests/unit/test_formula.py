"""The Homebrew formula has all that keiji needs on a Mac, from where everybody finds it."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "packaging/homebrew/keiji.rb").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
RESOURCES = re.findall(
    r'^  resource "(.*)" do\n    url "(.*)"\n    sha256 "(.*)"\n  end$', TEXT, re.MULTILINE
)
NAMES = [name for name, _, _ in RESOURCES]
NEED = r"([A-Za-z0-9._-]+)(?:>=([\d.]+))?(?:; *(.*))?"


def _script():
    # It has no ending, and leaves no bytecode beside itself.
    loader = SourceFileLoader("formula", str(ROOT / "packaging" / "formula"))
    module = module_from_spec(spec_from_loader(loader.name, loader))
    exec(loader.source_to_code(loader.get_data(loader.path), loader.path), module.__dict__)
    return module


formula = _script()
PYTHON = re.search(r'depends_on "python@(.+)"', TEXT)[1]


def needs():
    """pyproject's dependencies on a Mac: name → the oldest version, or None."""
    found = [re.fullmatch(NEED, need).groups() for need in PROJECT["dependencies"]]
    return {name.lower(): oldest for name, oldest, marker in found if formula.applies(marker or "", PYTHON)}


def test_each_dependency_has_its_resource_and_what_is_linuxs_has_none():
    assert {"click", "jinja2"} < set(needs())
    assert not {"pydbus", "pygobject", "tomli"} & set(needs())
    # Jinja needs it. Where this fails after packaging/formula, look at who needs what is new.
    assert set(NAMES) == set(needs()) | {"markupsafe"}


def test_resources_are_archives_with_a_digest_at_the_public_index_by_name():
    assert TEXT.count("resource ") == len(RESOURCES)
    assert sorted(NAMES) == NAMES
    for name, address, digest in RESOURCES:
        place = rf"https://files\.pythonhosted\.org/packages/(\w+/){{3}}{name}-[\d.]+\.tar\.gz"
        assert re.fullmatch(place, address), address
        assert re.fullmatch(r"[0-9a-f]{64}", digest), name
    assert len({digest for _, _, digest in RESOURCES}) == len(RESOURCES)


def test_no_resource_is_older_than_keiji_allows():
    versions = {name: re.search(r"-([\d.]+)\.tar\.gz", address)[1] for name, address, _ in RESOURCES}

    for name, oldest in needs().items():
        assert formula.number(versions[name]) >= formula.number(oldest or "0"), name


def test_formula_and_package_agree_on_licence_python_and_what_they_are():
    oldest = PROJECT["requires-python"].removeprefix(">=")

    assert formula.number(PYTHON) >= formula.number(oldest)
    assert f'license "{PROJECT["license"]["text"]}"' in TEXT
    assert PROJECT["description"].startswith(re.search(r'desc "(.*)"', TEXT)[1])


def test_resources_are_replaced_and_nothing_else_is():
    assert formula.with_resources(TEXT, "\n".join(formula.stanza(*each) for each in RESOURCES)) == TEXT

    text = formula.with_resources(TEXT, formula.stanza("only", "https://a.example/b", "0" * 64))

    assert re.findall(r'resource "(.*)" do', text) == ["only"]
    assert text.partition("  resource")[0] == TEXT.partition("  resource")[0]
    assert text.partition("  def install")[2] == TEXT.partition("  def install")[2]


def test_a_release_is_written_in_the_place_of_the_one_before(tmp_path):
    for version in ("1.2.3", "1.2.4"):
        (tmp_path / f"keiji-{version}.tar.gz").write_bytes(version.encode())

    first = formula.with_archive(TEXT, tmp_path / "keiji-1.2.3.tar.gz")
    text = formula.with_archive(first, tmp_path / "keiji-1.2.4.tar.gz")

    assert re.findall(r'^  url ".*/(.*)"$', text, re.MULTILINE) == ["keiji-1.2.4.tar.gz"]
    assert len(re.findall(r'^  sha256 "[0-9a-f]{64}"$', text, re.MULTILINE)) == 1
    assert re.sub(r'^  (url|sha256) ".*"\n', "", text, flags=re.MULTILINE) == TEXT


@pytest.mark.parametrize(
    ("marker", "holds"),
    [
        ("", True),
        ("sys_platform == 'linux'", False),
        ("sys_platform != 'linux'", True),
        ("python_version < '3.11'", False),
        ('python_version >= "3.9"', True),
    ],
)
def test_markers_are_those_of_a_mac_with_the_formulas_python(marker, holds):
    assert formula.applies(marker, "3.13") is holds


def test_a_mirrors_address_becomes_the_public_one():
    path = "45/37/ab/click-8.1.8.tar.gz"

    assert formula.public(f"https://mirror.example/root/packages/{path}#sha256=0") == formula.FILES + path
    with pytest.raises(formula.Refused):
        formula.public("https://mirror.example/click-8.1.8.tar.gz")


def test_more_words_than_an_archive_are_refused():
    done = subprocess.run(
        [sys.executable, "-B", ROOT / "packaging" / "formula", "a", "b"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr.splitlines()[0].partition(":")[0]) == (1, "formula")
