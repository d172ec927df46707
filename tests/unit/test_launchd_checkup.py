"""What the doctor finds wrong with launchd and keiji's agents, and that its remedies can be typed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from test_launchd_manager import NOON, Mac, fake, mac, started  # noqa: F401 - fixtures

from keiji.findings import Finding
from keiji.launchd import checkup, loading, names
from keiji.task import Task

TASK = Task("demo", "shows it", NOON, "a1b2", "host", "an-id")


def typed(finding: Finding) -> list[str]:
    """The words of the remedy's command as a shell reads them."""
    command = re.search(r"`(.*)`", finding.remedy)
    assert command, finding
    return shlex.split(command[1])


def test_a_folder_of_agents_with_a_space_is_a_word_of_its_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "the home's"))
    names.agent_folder().mkdir(parents=True)
    monkeypatch.setattr("os.access", lambda path, mode: False)

    (finding,) = checkup.folder()

    assert typed(finding) == ["chmod", "u+rwx", str(names.agent_folder())]


def test_a_plist_that_others_may_write_is_told_with_a_line_that_can_be_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "the home's"))
    path = names.plist(names.task("demo"))
    path.parent.mkdir(parents=True)
    path.write_text("")
    path.chmod(0o666)

    found = [it for it in checkup.of_task(TASK, {path: ""}, "x") if "yours alone" in it.message]

    assert [typed(it) for it in found] == [["chmod", "644", str(path)]]


def test_a_session_that_launchd_does_not_answer_for_is_told_with_where_to_log_in(started: Mac) -> None:  # noqa: F811
    started.fake.set(domains=[])

    (finding,) = checkup.manager()

    assert finding.remedy == "log in at the screen"


def test_a_plist_that_cannot_be_read_is_one_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    path = names.plist(names.task("demo"))
    path.parent.mkdir(parents=True)
    path.write_text("no plist")

    (finding,) = checkup.of_task(TASK, {path: "<plist/>"}, "x")

    assert finding.remedy == "`keiji system update`"


def test_an_agent_that_is_switched_off_is_switched_on_by_a_start(started: Mac) -> None:  # noqa: F811
    loading.switch(names.task("demo"), False)
    (finding,) = checkup.switched_off(started.folders)

    assert typed(finding) == ["keiji", "system", "start"]
    started.host.start_system()
    assert [*checkup.switched_off(started.folders)] == []
