"""What a schedule means: its kind, its next times, its text.

This runs in the user's interpreter too, and at some firings: standard library only, and light imports.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone, tzinfo

from keiji import wallclock
from keiji.chain import Chain
from keiji.errors import InvalidSchedule
from keiji.forms import DAYS, UNITS, Boot, Clock, Cron, Period, WallClock
from keiji.policy import Policy
from keiji.quantities import shown

__all__ = ["PARTS", "Boot", "Clock", "Cron", "Period", "Policy", "Schedule", "WallClock", "phase_of"]

# The modules of keiji that make up a schedule: what has to be copied for `from keiji import Schedule`.
PARTS = ("errors", "frozen", "quantities", "forms", "policy", "cron", "wallclock", "chain", "schedule")

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_END = datetime(9999, 12, 30, tzinfo=timezone.utc)  # the last that every zone can express


class Schedule(Chain):
    """A frozen value, written by the methods of `Chain`: equal when it says the same."""

    def meaning(self) -> tuple[object, ...]:
        return (self.form, self.policy.evolve(missed=None), self.catches_up)

    # what keiji asks

    @property
    def kind(self) -> str:
        """``HMS``, ``DayTime``, ``Calendar`` or ``Boot``; `InvalidSchedule` when no form was chosen."""
        form = self.form
        if form is None:
            self.check()
        if isinstance(form, WallClock):
            return "DayTime" if len(form.weekdays) == len(form.times) == 1 else "Calendar"
        return "HMS" if isinstance(form, Period) else "Boot" if isinstance(form, Boot) else "Calendar"

    @property
    def catches_up(self) -> bool:
        """Whether a time that was missed is made up for, once."""
        if self.policy.missed:
            return self.policy.missed == "once"
        if isinstance(self.form, Period):
            return self.form.seconds >= 3600
        return self.needs_zone

    @property
    def needs_zone(self) -> bool:
        """Whether its times depend on a zone's clocks."""
        return isinstance(self.form, (WallClock, Cron))

    def in_zone(self, name: str) -> Schedule:
        """The same by the clocks of zone `name`, unless the author has named one."""
        if self.policy.timezone is not None:
            return self
        wallclock.zone_named(name)
        return self.evolve(policy=self.policy.evolve(timezone=name, zone_is_default=True))

    # times

    def next_times(self, after: datetime, n: int, phase: timedelta = timedelta(0)) -> list[datetime]:
        """Up to `n` due times strictly after `after`, in the schedule's zone, else in that of `after`.

        `after` is aware, else `ValueError`. A period counts from the epoch plus `phase`. There are none
        for a boot, and fewer than `n` where none comes in 41 years.
        """
        zone = self._zone(after)
        if isinstance(self.form, Period):
            period = timedelta(seconds=self.form.seconds)
            k = (after - _EPOCH - phase) // period + 1
            fitting = (_END - _EPOCH - phase) // period - k + 1
            return [(_EPOCH + phase + (k + i) * period).astimezone(zone) for i in range(min(n, fitting))]
        if isinstance(self.form, (WallClock, Cron)):
            return wallclock.next_due(self.form, zone, after, n)
        return []

    def last_time(self, at: datetime, phase: timedelta = timedelta(0)) -> datetime | None:
        """The latest due time at or before `at`, as `next_times` has them; None for a boot."""
        zone = self._zone(at)
        if isinstance(self.form, Period):
            period = timedelta(seconds=self.form.seconds)
            return (_EPOCH + phase + (at - _EPOCH - phase) // period * period).astimezone(zone)
        if isinstance(self.form, (WallClock, Cron)):
            return wallclock.last_due(self.form, zone, at)
        return None

    def _zone(self, moment: datetime) -> tzinfo:
        self.check()
        if moment.tzinfo is None or moment.utcoffset() is None:
            raise ValueError(f"{moment} has no timezone")
        return wallclock.zone_named(self.policy.timezone) if self.policy.timezone else moment.tzinfo

    # text and storage

    def __str__(self) -> str:
        return ",".join([str(self.form) if self.form else "incomplete", *self.policy.texts()])

    def __repr__(self) -> str:
        return f"<Schedule {self}>"

    def to_dict(self) -> dict[str, object]:
        """A JSON-able description that `from_dict` reads back."""
        self.check()
        return {"v": 1, "form": _form_dict(self.form), "policy": self.policy.to_dict()}

    @classmethod
    def from_dict(cls, stored: object) -> Schedule:
        """The schedule that `to_dict` described; `InvalidSchedule` for anything else.

        A zone that this machine does not know is found out when times are asked for, so that a stored
        schedule can still be shown.
        """
        if not isinstance(stored, dict) or stored.get("v") != 1:
            raise InvalidSchedule(f"{shown(stored)} is no stored schedule of version 1")
        try:
            schedule = cls(_form_of(stored["form"]), Policy.from_dict(stored["policy"]))
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise InvalidSchedule(f"a stored schedule is damaged: {error!r}") from error
        return schedule.build()


def phase_of(period_seconds: int, slug: str) -> timedelta:
    """A task's share of its period, from its slug, so that tasks of one period don't fire together.

    In [0, period); whole seconds, for periods under 10 s whole milliseconds.
    """
    import zlib

    number = zlib.crc32(slug.encode())
    if period_seconds >= 10:
        return timedelta(seconds=number % period_seconds)
    return timedelta(milliseconds=number % (period_seconds * 1000))


def _form_dict(form: object) -> dict[str, object]:
    if isinstance(form, Period):
        return {"kind": "period", "units": form.units, "interval": form.interval}
    if isinstance(form, WallClock):
        return {
            "kind": "wallclock",
            "weekdays": list(form.weekdays),
            "month_days": list(form.month_days),
            "last_day": form.last_day,
            "times": [clock.text for clock in form.times],
        }
    if isinstance(form, Cron):
        return {"kind": "cron", "expression": form.expression}
    return {"kind": "boot"}


def _form_of(stored: dict[str, Any]) -> Period | WallClock | Cron | Boot | None:
    """Through the chain's own methods, so that nothing gets in which they would refuse."""
    kind, new = stored["kind"], Schedule()
    if kind == "period" and stored["units"] in UNITS:
        new = getattr(new.every(stored["interval"]), stored["units"])()
    elif kind == "wallclock":
        for day in stored["weekdays"]:
            new = getattr(new, DAYS[day].lower())()
        if stored["month_days"]:
            new = new.month_day(*stored["month_days"])
        if stored["last_day"]:
            new = new.last_day()
        new = new.at(*stored["times"])
    elif kind == "cron":
        new = new.cron(stored["expression"])
    elif kind == "boot":
        new = new.at_boot()
    else:
        raise InvalidSchedule(f"a stored schedule has the unknown form {shown(kind)}")
    return new.form
