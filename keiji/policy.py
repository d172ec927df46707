"""How a task's runs are treated: its zone, retries, bounds, and what follows a miss or a failure."""

from __future__ import annotations

from keiji import quantities
from keiji.errors import InvalidSchedule
from keiji.frozen import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_READ: dict[str, Callable[[object], Any]] = {
    "tries": lambda value: quantities.whole(value, "retry's tries", 1, 100),
    "delay": lambda value: quantities.seconds(value, "retry's delay", 0),
    "backoff": lambda value: quantities.number(value, "retry's backoff", 1, 100),
    "timeout": lambda value: quantities.seconds(value, "timeout", 0.001),
    "jitter": lambda value: quantities.seconds(value, "jitter", 0, 86400),
    "missed": lambda value: quantities.one_of(value, "missed", ("once", "skip")),
    "memory": quantities.memory,
    "cpu": quantities.percent,
    "on_failure": lambda value: quantities.one_of(value, "on_failure", ("hold", "continue")),
}
_WRITE: dict[str, Callable[[Any], str]] = {
    "delay": quantities.duration,
    "backoff": lambda value: f"{value:g}",
    "timeout": quantities.duration,
    "jitter": quantities.duration,
    "memory": quantities.size,
    "cpu": lambda value: f"{value}%",
}


class Policy(Value):
    """`delay`, `timeout`, `jitter` in seconds, `memory` in bytes, `cpu` in percent of one processor.

    `zone_is_default`: the zone is keiji's setting, not the author's word; it is not shown or compared.
    """

    timezone: str | None = None
    tries: int = 1
    delay: float = 0
    backoff: float = 1
    timeout: float | None = None
    jitter: float = 0
    missed: str | None = None
    memory: int | None = None
    cpu: int | None = None
    on_failure: str = "hold"
    zone_is_default: bool = False

    def meaning(self) -> tuple[object, ...]:
        waits = self.tries > 1 and self.delay > 0
        return self.evolve(
            delay=self.delay if waits else 0,
            backoff=self.backoff if waits and self.tries > 2 else 1,
            zone_is_default=False,
        ).fields()

    def refined(self, **written: object) -> Policy:
        """With these fields as the author wrote them; `InvalidSchedule` names one that is wrong."""
        policy = self.evolve(**{name: _READ[name](value) for name, value in written.items()})
        longest = policy.delay * policy.backoff ** max(policy.tries - 2, 0)
        if longest > quantities.YEAR:
            raise InvalidSchedule(
                "retry's delays grow beyond a year: "
                "fewer tries, a shorter delay or a smaller backoff is allowed"
            )
        return policy

    def texts(self) -> list[str]:
        """What was set, as ``key:value``."""
        shown = dict(self.to_dict())
        if shown.pop("zone_is_default", False):
            del shown["timezone"]
        return [f"{name}:{_WRITE.get(name, str)(value)}" for name, value in shown.items()]

    def to_dict(self) -> dict[str, object]:
        """The fields that differ from their defaults."""
        return {name: value for name, value in self.__dict__.items() if value != getattr(Policy, name)}

    @classmethod
    def from_dict(cls, stored: dict[str, object]) -> Policy:
        """What `to_dict` wrote; `InvalidSchedule`, `KeyError` or `TypeError` for anything else."""
        rest = dict(stored)
        zone, is_default = rest.pop("timezone", None), rest.pop("zone_is_default", False)
        if not (zone is None or isinstance(zone, str)) or not isinstance(is_default, bool):
            raise InvalidSchedule(f"a stored schedule has the timezone {quantities.shown(zone)}")
        return cls(timezone=zone, zone_is_default=is_default).refined(**rest)
