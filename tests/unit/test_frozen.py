"""Frozen values."""

from __future__ import annotations

import copy
import pickle

import pytest

from keiji.frozen import Value


class Point(Value):
    x: int
    y: int = 0
    label: str = ""

    def meaning(self) -> tuple[object, ...]:
        return (self.x, self.y)


class Place(Point):
    name: str = "here"


def test_a_value_is_equal_and_hashes_by_its_meaning() -> None:
    assert Point(1, 2, label="a") == Point(x=1, y=2)
    assert hash(Point(1, 2, label="a")) == hash(Point(1, 2))
    assert Point(1) != Point(2)
    assert Point(1) != Place(1)
    assert Point(1) != (1, 0)


def test_a_value_cannot_be_changed() -> None:
    point = Point(1)

    with pytest.raises(AttributeError, match="frozen"):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(AttributeError, match="frozen"):
        del point.x
    assert point.evolve(x=2) == Point(2)
    assert point.x == 1


@pytest.mark.parametrize(
    ("values", "named"), [((), {}), ((1, 2, "", 4), {}), ((1,), {"x": 1}), ((1,), {"z": 1})]
)
def test_every_field_is_given_once(values: tuple[int, ...], named: dict[str, int]) -> None:
    with pytest.raises(TypeError):
        Point(*values, **named)


def test_fields_are_inherited_and_shown() -> None:
    assert repr(Place(1)) == "Place(x=1, y=0, label='', name='here')"


def test_a_value_survives_copying_and_pickling() -> None:
    assert copy.deepcopy(Place(1, 2)) == pickle.loads(pickle.dumps(Place(1, 2))) == Place(1, 2)
