"""A task's name and its slug."""

from __future__ import annotations

import pytest

from keiji.errors import InvalidName
from keiji.task import slug_of


@pytest.mark.parametrize(
    ("name", "slug"),
    [("ping_google", "ping_google"), ("My Backup", "my-backup"), ("7 up", "7-up"), ("a-b", "a-b")],
)
def test_a_slug_is_the_name_in_lower_case_with_dashes_for_spaces(name, slug):
    assert slug_of(name) == slug


@pytest.mark.parametrize("name", ["", "-x", "_x", " x", "a/b", "../x", "é", "a\n", "x" * 65, "x" * 1_000_000])
def test_a_name_outside_the_rule_is_refused_in_one_short_line(name):
    with pytest.raises(InvalidName) as caught:
        slug_of(name)

    assert "cannot be a task's name: a task's name is" in caught.value.message
    assert len(caught.value.message) < 250
    assert "\n" not in caught.value.message
