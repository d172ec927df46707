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

    _fields: tuple[str, ...] = ()

    def __init_subclass__(cls) -> None:
        cls._fields = (*cls._fields, *cls.__annotations__)

    def __init__(self, *values: Any, **named: Any) -> None:
        given = dict(zip(self._fields, values, strict=False))
        if (
            len(values) > len(self._fields)
            or given.keys() & named.keys()
            or not named.keys() <= {*self._fields}
        ):
            raise TypeError(f"{type(self).__name__} takes {', '.join(self._fields) or 'nothing'}, each once")
        given.update(named)
        for name in self._fields:
            if name not in given and not hasattr(type(self), name):
                raise TypeError(f"{type(self).__name__} needs {name}")
            self.__dict__[name] = given.get(name, getattr(type(self), name, None))

    def evolve(self, **changes: Any) -> Self:
        """The same with some fields changed."""
        return type(self)(**{**self.__dict__, **changes})

    def fields(self) -> tuple[Any, ...]:
        """Every field's value, in order."""
        return tuple(self.__dict__[name] for name in self._fields)

    def meaning(self) -> tuple[Any, ...]:
        """What it says, without how that was written."""
        return self.fields()

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        return self.meaning() == other.meaning()

    def __hash__(self) -> int:
        return hash((type(self), self.meaning()))

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={self.__dict__[name]!r}" for name in self._fields)
        return f"{type(self).__name__}({fields})"

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: {name} cannot be set")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is frozen: {name} cannot be deleted")
