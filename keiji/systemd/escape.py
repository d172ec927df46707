"""Text from people on its way into unit files: one filter for each place it can stand in.

The grammar is systemd.syntax(7), "Quoting", and systemd.unit(5), "Specifiers".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence


def text(value: object) -> str:
    """For `Description=`: one line, no specifiers, no line that goes on."""
    return line(value).replace("%", "%%")


def line(value: object) -> str:
    """For a comment: one line that does not go on; control characters become spaces."""
    flat = "".join(c if c.isprintable() else " " for c in str(value)).strip()
    return flat + " " if flat.endswith("\\") else flat


def path(value: object) -> str:
    """For a setting whose value is one path, such as `ConditionPathExists=`."""
    return _printable(str(value)).replace("%", "%%")


def argument(value: object) -> str:
    """One quoted word for `Environment=`; specifiers are escaped, `$` means nothing there."""
    quoted = _printable(str(value)).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{quoted}"'


def argv(words: Sequence[object]) -> str:
    """A command line for `ExecStart=`; words are quoted only where they must be."""
    return " ".join(_word(str(word)) for word in words)


def seconds(value: float) -> str:
    """A time span, exact to the microsecond."""
    return f"{value:.6f}".rstrip("0").rstrip(".") + "s"


def _word(word: str) -> str:
    plain = word.replace("_", "").replace("-", "").replace("/", "").replace(".", "").replace("=", "")
    if plain.isascii() and plain.isalnum():
        return word
    return argument(word).replace("$", "$$")


def _printable(value: str) -> str:
    # A line break can't be written in a path setting at all, so it is refused rather than changed.
    if "\n" in value or "\r" in value or "\0" in value:
        raise ValueError(f"a line break cannot stand in a unit file: {value!r}")
    return value


FILTERS: dict[str, Callable[..., str]] = {
    "argument": argument,
    "argv": argv,
    "line": line,
    "path": path,
    "seconds": seconds,
    "text": text,
}
