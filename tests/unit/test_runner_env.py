"""The grammar of `.env`, in which a person writes a task's variables."""

from __future__ import annotations

import pytest

from keiji.runner import parse_env


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("A=b", "b"),
        ("A=", ""),
        ("A=''", ""),
        ("  A = b  ", "b"),
        ("export A=b", "b"),
        ("export\tA=b", "b"),
        ("A=b\r\n", "b"),
        ("\ufeffA=b", "b"),
        ("A=b c", "b c"),
        ("A=b=c==", "b=c=="),
        ("A=postgres://u:p#w@h/d", "postgres://u:p#w@h/d"),
        ("A=b # comment", "b"),
        ("A=b\t# comment", "b"),
        ("A=# comment", ""),
        ("A=b'c", "b'c"),
        ("A='b # c'", "b # c"),
        ("A='b' # c", "b"),
        ("A='b'# c", "b"),
        ('A="b"  ', "b"),
        (r"A='b\n$HOME\''", None),
        (r"A='b\n$HOME'", r"b\n$HOME"),
        (r'A="a\tb\n\"c\" \\ \$HOME \x"', 'a\tb\n"c" \\ $HOME \\x'),
        ('A="one\ntwo  \n  three"', "one\ntwo  \n  three"),
        ("A='one\r\ntwo'", "one\ntwo"),
        ("A=$HOME", "$HOME"),
        ("A=計時", "計時"),
    ],
)
def test_a_value_is_read_as_a_person_means_it(text: str, value: str | None) -> None:
    if value is None:
        with pytest.raises(ValueError, match="line 1"):
            parse_env(text)
    else:
        assert parse_env(text) == [(1, "A", value)]


def test_lines_are_counted_through_comments_and_long_values() -> None:
    text = "# first\n\nA='1\n2'\nexport B=3\nA=4\n"

    assert parse_env(text) == [(3, "A", "1\n2"), (5, "B", "3"), (6, "A", "4")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A=1\nnonsense", "line 2: not KEY=VALUE"),
        ("export A", "line 1: not KEY=VALUE"),
        ("=1", "line 1: not KEY=VALUE"),
        ("1A=1", "line 1: not KEY=VALUE"),
        ("A B=1", "line 1: not KEY=VALUE"),
        ("Ä=1", "line 1: not KEY=VALUE"),
        ("\nA='never\nclosed", "line 2: A: the quote is never closed"),
        ("A='b'c", "line 1: A: something follows the closing quote"),
        ('A="b" c # d', "line 1: A: something follows the closing quote"),
        ("A=b\0c", "line 1: A holds a NUL character"),
    ],
)
def test_nonsense_is_refused_with_its_line_and_without_its_value(text: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_env(text)

    assert str(caught.value) == message
