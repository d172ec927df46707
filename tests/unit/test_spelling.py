"""The original spelling is translated into today's."""

from __future__ import annotations

import pytest

from keiji.errors import UsageError
from keiji.spelling import translate


@pytest.mark.parametrize(
    ("original", "today"),
    [
        ("task --create --name=ping --desc=pings", "task create --desc=pings -- ping"),
        ("task --create --name ping --desc pings --force", "task create --desc=pings --force -- ping"),
        ("task --build --name=ping", "task build -- ping"),
        ("task --name=ping --build --restart", "task build --restart -- ping"),
        ("task --get", "task get"),
        ("task --get --name=ping", "task get -- ping"),
        ("task --get --json", "task get --json"),
        ("task --name=ping --json --get", "task get --json -- ping"),
        ("task --logs --name=ping --vim", "task logs --vim -- ping"),
        ("task --restart --name=ping", "task restart -- ping"),
        ("task --disable --name=ping", "task disable -- ping"),
        ("task --enable --name=ping", "task enable -- ping"),
        ("task --resolve --name=ping", "task resolve -- ping"),
        ("task --delete --name=ping", "task delete -- ping"),
        ("system --start", "system start"),
        ("system --stop --bus", "system stop --bus"),
        ("system --restart --scheduler", "system restart --scheduler"),
        ("system --status", "system status"),
        ("system --logs --bus --code", "system logs --bus --code"),
        ("system --update --cc", "system update --cc"),
        ("system --uninstall", "system uninstall"),
        ("--debug task --get", "--debug task get"),
    ],
)
def test_each_original_command_line_has_one_translation(original, today):
    assert translate(original.split()) == today.split()


@pytest.mark.parametrize(
    "words",
    [
        ["task", "get", "ping", "--json"],
        ["init"],
        ["doctor", "--json"],
        ["--help"],
        ["task", "--help"],
        [],
        ["system"],
    ],
)
def test_what_is_spelled_today_s_way_passes_through(words):
    assert translate(words) == words


def test_a_name_or_text_with_spaces_and_dashes_stays_one_word():
    words = translate(["task", "--create", "--name=my task", "--desc=-- all of it --"])

    assert words == ["task", "create", "--desc=-- all of it --", "--", "my task"]


@pytest.mark.parametrize(
    ("words", "both"),
    [
        ("task --enable --disable --name=x", ("--enable", "--disable")),
        ("task --delete --build --name=x", ("--delete", "--build")),
        ("task --get --force", ("--get", "--force")),
        ("task --build --json --name=x", ("--build", "--json")),
        ("task --logs --name=x --vim --nano", ("--vim", "--nano")),
        ("system --start --stop", ("--start", "--stop")),
        ("system --start --cc", ("--start", "--cc")),
        ("system --stop --bus --scheduler", ("--bus", "--scheduler")),
    ],
)
def test_flags_that_clash_are_refused_and_both_named(words, both):
    with pytest.raises(UsageError) as caught:
        translate(words.split())

    assert all(flag in caught.value.message for flag in both)


@pytest.mark.parametrize(
    "words", ["system stop --bus --scheduler", "system logs --bus --vim --code", "task logs x --nano --vim"]
)
def test_today_s_spelling_refuses_the_flags_that_the_original_one_does(words):
    with pytest.raises(UsageError, match="cannot go together"):
        translate(words.split())


@pytest.mark.parametrize(
    "words", ["task --name=x", "task --build", "task --get=x", "task --get x", "task --frob"]
)
def test_a_line_that_says_too_little_or_nonsense_is_refused(words):
    with pytest.raises(UsageError):
        translate(words.split())
