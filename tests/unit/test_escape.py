"""Text from people reaches unit files through one filter each."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keiji.systemd import escape

TEXT = st.text(max_size=60)
WORD = st.text(st.characters(blacklist_characters="\n\r\0", blacklist_categories=("Cs",)), max_size=40)


@given(TEXT)
def test_text_is_one_line_that_does_not_go_on(value):
    shown = escape.text(value)

    assert len(shown.splitlines()) <= 1
    assert not shown.endswith("\\")


@given(TEXT)
def test_text_has_no_specifier(value):
    assert "%" not in escape.text(value).replace("%%", "")


@given(WORD)
def test_an_argument_reads_back_as_it_was(value):
    quoted = escape.argument(value)

    assert quoted[0] == quoted[-1] == '"'
    assert _unquote(quoted) == value


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\0b"])
def test_a_line_break_in_a_path_is_refused(value):
    with pytest.raises(ValueError, match="line break"):
        escape.path(value)


def test_plain_words_of_a_command_line_stay_unquoted():
    assert escape.argv(["/usr/bin/python3.11", "-I", "/a b/$x%"]) == '/usr/bin/python3.11 -I "/a b/$$x%%"'


def test_an_empty_word_of_a_command_line_is_quoted():
    assert escape.argv(["a", ""]) == 'a ""'


@pytest.mark.parametrize(("value", "shown"), [(90, "90s"), (0.25, "0.25s"), (7, "7s"), (1e-6, "0.000001s")])
def test_seconds_are_exact(value, shown):
    assert escape.seconds(value) == shown


def _unquote(quoted: str) -> str:
    """What systemd.syntax(7) makes of a quoted word, then of its specifiers."""
    characters = iter(quoted[1:-1])
    plain = "".join(next(characters) if c == "\\" else c for c in characters)
    return plain.replace("%%", "%")
