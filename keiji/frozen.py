"""Frozen values at no cost: importing `dataclasses` alone doubles the start of a firing.

Like the rest of what a schedule is made of, this runs in the user's interpreter: standard library only.
"""

from __future__ import annotations

TYPE_CHECKING = False  # importing `typing` for its constant costs as much
if TYPE_CHECKING:
    from typing import Any

    from typing_extensions import Self, dataclass_transform
else:

    def dataclass_transform(**_):
        return lambda cls: cls


@dataclass_transform(frozen_default=True)
class Value:
    """A value whose annotated names are its fields: set once, compared and hashed by `meaning()`."""

    def __init__(self, *values: Any, **named: Any) -> None:
        names = tuple(type(self).__annotations__)
        given = dict(zip(names, values))
        if len(values) > len(names) or given.keys() & named.keys() or not named.keys() <= set(names):
            raise TypeError(f"{type(self).__name__} takes {', '.join(names) or 'nothing'}, each once")
        given.update(named)
        for name in names:
            if name not in given:
                given[name] = getattr(type(self), name)  # the default
        self.__dict__.update(given)

    def evolve(self, **changes: Any) -> Self:
        """The same with some fields changed."""
        return type(self)(**{**self.__dict__, **changes})

    def meaning(self) -> tuple[Any, ...]:
        """What it says, without how that was written."""
        return tuple(self.__dict__[name] for name in type(self).__annotations__)

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return self.meaning() == other.meaning()  # type: ignore[attr-defined]

    def __hash__(self) -> int:
        return hash((type(self), self.meaning()))

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={self.__dict__[name]!r}" for name in type(self).__annotations__)
        return f"{type(self).__name__}({fields})"

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: {name} cannot be set")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: {name} cannot be deleted")
