"""The man page is written by hand, and leaves out nothing that the command understands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from keiji import settings
from keiji.grammar import cli

SOURCE = Path(__file__).parents[2] / "packaging" / "keiji.1"


def page() -> str:
    """The page's words without its markup."""
    text = SOURCE.read_text(encoding="utf-8").replace("\\-", "-").replace("\\ ", " ")
    return re.sub(r"\\f\w|^\.[A-Z]+ ", "", text, flags=re.MULTILINE).replace('"', "")


def commands(group: click.Group, *before: str) -> Iterator[tuple[str, click.Command]]:
    """Every command with the words that call it."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *before, name)
        else:
            yield " ".join((*before, name)), command


@pytest.mark.parametrize(("words", "command"), [*commands(cli)])
def test_a_command_has_its_entry_with_all_its_options(words: str, command: click.Command) -> None:
    group, _, verb = words.rpartition(" ")
    entries = [line for line in page().splitlines() if re.match(rf"keiji {group} ?(\w+\|)*{verb}\b", line)]

    options = [word for one in command.params if isinstance(one, click.Option) for word in one.opts]
    assert entries
    assert [option for option in options if not any(option in entry for entry in entries)] == []


def test_every_setting_has_its_entry() -> None:
    keys = re.findall(r"^([A-Z_]+)=", settings.default_text("UTC"), re.MULTILINE)

    assert keys
    assert [key for key in keys if f"\n{key}\n" not in page()] == []


@pytest.mark.parametrize("other", ["systemctl (1)", "launchctl (1)", "launchd.plist (5)"])
def test_the_pages_of_both_systems_are_named(other: str) -> None:
    assert other in page().rpartition("SEE ALSO")[2]


def test_it_tells_to_uninstall_before_the_package_is_removed() -> None:
    removal = page().rpartition("REMOVAL")[2]

    assert "keiji system uninstall" in removal
    assert "before" in removal
