"""Which system this is, is asked in one place; everything else is told."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import keiji
from keiji import platforms
from keiji.errors import UnsupportedHere
from keiji.folders import Folders

PACKAGE = Path(keiji.__file__).parent
ASKING = {"sys.platform", "os.name", "os.uname", "posix.uname", "sys.getwindowsversion"}
FOLDERS = Folders(Path("/work"), Path("/home"))
NAMES = {"KEIJI_HOST", "KEIJI_BUS"}
ALLOWED = {
    ("platforms.py", "sys.platform"),
    ("platforms.py", "KEIJI_HOST"),
    ("platforms.py", "KEIJI_BUS"),
    ("store/hosts.py", "os.uname"),  # the machine's name, not the system's
    ("runner_rare.py", "sys.platform"),  # the kernel's unit of ru_maxrss; the runner imports nothing of keiji
}


def questions(tree: ast.AST) -> Iterator[str]:
    """What of the system, or of what says to act as another, is looked at."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            name = f"{node.value.id}.{node.attr}"
            if name in ASKING or node.value.id == "platform":
                yield name
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            module = getattr(node, "module", None)
            for alias in node.names:
                if (module or alias.name) == "platform" or f"{module}.{alias.name}" in ASKING:
                    yield "platform" if not module else f"{module}.{alias.name}"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in NAMES:
            yield node.value


def test_only_platforms_asks_which_system_this_is() -> None:
    found = {
        (str(path.relative_to(PACKAGE)), asked)
        for path in PACKAGE.rglob("*.py")
        for asked in questions(ast.parse(path.read_text(encoding="utf-8")))
    }

    assert found == ALLOWED


@pytest.mark.parametrize(
    "source",
    [
        "import sys\nsys.platform == 'darwin'",
        "from sys import platform",
        "import platform\nplatform.system()",
        "from platform import system",
        "import os\nos.uname().sysname",
        "os.environ.get('KEIJI_HOST')",
    ],
)
def test_each_way_to_ask_is_noticed(source: str) -> None:
    assert list(questions(ast.parse(source)))


@pytest.mark.parametrize(
    ("system", "host", "transport"), [("linux", "linux", "dbus"), ("darwin", "macos", "loopback")]
)
def test_the_machine_says_the_host_and_the_host_the_transport(
    system: str, host: str, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", system)

    assert (platforms.host_name(), platforms.transport()) == (host, transport)
    assert not platforms.is_acted()
    assert platforms.passed_on() == {}


def test_what_acts_as_another_host_has_its_services_act_so_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEIJI_HOST", "macos")
    monkeypatch.setenv("PATH", "/a/stand-in:/usr/bin")

    assert platforms.is_acted()
    assert platforms.passed_on() == {"KEIJI_HOST": "macos", "PATH": "/a/stand-in:/usr/bin"}


@pytest.mark.parametrize(
    "ask", [platforms.transport, lambda: platforms.host(Folders(Path("/work"), Path("/home")))]
)
def test_macos_is_not_asked_for_a_session_bus(
    ask: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEIJI_HOST", "macos")
    monkeypatch.setenv("KEIJI_BUS", "dbus")

    with pytest.raises(UnsupportedHere, match="only loopback is allowed"):
        ask()


@pytest.mark.parametrize(("name", "ask"), [("KEIJI_HOST", "host_name"), ("KEIJI_BUS", "transport")])
def test_another_word_is_refused_with_those_that_are_allowed(
    name: str, ask: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "windows")

    with pytest.raises(UnsupportedHere, match=f"{name}=windows: .* is allowed"):
        getattr(platforms, ask)()
