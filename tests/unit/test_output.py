"""What people and programs read."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from keiji import output


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.049, "49ms"),
        (2.54, "2.5s"),
        (12, "12s"),
        (60, "1min"),
        (200, "3min 20s"),
        (7500, "2h 5min"),
        (356400, "4d 3h"),
        (-1, "0ms"),
    ],
)
def test_a_stretch_of_time_is_told_in_one_or_two_units(seconds, shown):
    assert output.stretch(timedelta(seconds=seconds)) == shown


def test_a_moment_shows_a_fraction_only_when_it_has_one():
    whole = datetime(2026, 11, 23, 10, 0, 10, tzinfo=timezone.utc)

    assert output.moment(whole) == "2026-11-23T10:00:10+00:00"
    assert output.moment(whole + timedelta(milliseconds=250)) == "2026-11-23T10:00:10.250+00:00"
    assert output.moment(None) is None


def test_a_table_s_columns_are_as_wide_as_their_widest_cell(capsys):
    output.table(["NAME", "STATE"], [["a-long-name", "armed"], ["b", "held"]])

    assert capsys.readouterr().out == "NAME         STATE\na-long-name  armed\nb            held\n"


def test_control_characters_in_a_table_cannot_move_the_cursor(capsys):
    output.table(["NAME"], [["\x1b[2Jx"]])

    assert "\x1b" not in capsys.readouterr().out


def test_text_of_several_lines_fits_in_one_field():
    assert output.one_line("first\nsecond \\ third\n") == "first\\nsecond \\\\ third"


def test_there_is_no_colour_where_nobody_looks(capsys):
    output.error("it broke")

    assert capsys.readouterr().err == "keiji: it broke\n"
