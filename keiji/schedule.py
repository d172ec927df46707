"""What a schedule means: the author's chain of methods, its text, its next times.

This runs in the user's interpreter too, and at some firings: standard library only, and light imports.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone, tzinfo

from keiji import cron as _cron
from keiji import quantities, wallclock
from keiji.errors import InvalidSchedule
from keiji.forms import DAYS, UNITS, WEEK, Boot, Clock, Cron, Period, WallClock
from keiji.frozen import Value
from keiji.policy import Policy

__all__ = ["PARTS", "Boot", "Clock", "Cron", "Period", "Policy", "Schedule", "WallClock", "phase_of"]

# The modules of keiji that make up a schedule: what has to be copied for `from keiji import Schedule`.
PARTS = ("errors", "frozen", "quantities", "forms", "policy", "cron", "wallclock", "schedule")

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_LONGEST = 3650 * 86400
_FORMS = "every(n).seconds(), days with at(), cron() or at_boot()"


class Schedule(Value):
    """When a task runs (`form`) and how it is treated (`policy`): a frozen value, made by a chain of methods.

    Each method returns a new value and raises `InvalidSchedule` in one line.
    """

    form: Period | WallClock | Cron | Boot | None = None
    policy: Policy = Policy()

    # The author's chain: words that only make it read well

    def run(self) -> Schedule:
        """Says nothing; it makes a period read well."""
        return self

    def on(self) -> Schedule:
        """Says nothing; it makes days read well."""
        return self

    # periods

    def every(self, n: int = 1) -> Schedule:
        """A period of `n` of the unit that follows: `seconds()`, `minutes()` or `hours()`."""
        self._must_be_new(f"every({quantities.shown(n)})")
        return self.evolve(form=Period(quantities.whole(n, "every(n)", 1, _LONGEST)))

    def seconds(self) -> Schedule:
        """The unit of `every(n)`."""
        return self._with_unit("seconds")

    def minutes(self) -> Schedule:
        """The unit of `every(n)`."""
        return self._with_unit("minutes")

    def hours(self) -> Schedule:
        """The unit of `every(n)`."""
        return self._with_unit("hours")

    second, minute, hour = seconds, minutes, hours

    def _with_unit(self, units: str) -> Schedule:
        if not isinstance(self.form, Period) or self.form.units:
            raise InvalidSchedule(f"{units}() stands alone: it follows every(n), once")
        quantities.whole(self.form.interval, f"every(n).{units}()", 1, _LONGEST // UNITS[units])
        return self.evolve(form=self.form.evolve(units=units))

    # days and times

    def monday(self) -> Schedule:
        """On Mondays."""
        return self._on_days("monday()", weekdays=(0,))

    def tuesday(self) -> Schedule:
        """On Tuesdays."""
        return self._on_days("tuesday()", weekdays=(1,))

    def wednesday(self) -> Schedule:
        """On Wednesdays."""
        return self._on_days("wednesday()", weekdays=(2,))

    def thursday(self) -> Schedule:
        """On Thursdays."""
        return self._on_days("thursday()", weekdays=(3,))

    def friday(self) -> Schedule:
        """On Fridays."""
        return self._on_days("friday()", weekdays=(4,))

    def saturday(self) -> Schedule:
        """On Saturdays."""
        return self._on_days("saturday()", weekdays=(5,))

    def sunday(self) -> Schedule:
        """On Sundays."""
        return self._on_days("sunday()", weekdays=(6,))

    def weekdays(self) -> Schedule:
        """From Monday to Friday."""
        return self._on_days("weekdays()", weekdays=WEEK[:5])

    def every_day(self) -> Schedule:
        """On each day of the week."""
        return self._on_days("every_day()", weekdays=WEEK)

    def month_day(self, *days: int) -> Schedule:
        """On these days of the month, 1 to 31, in the months that have them."""
        if not days:
            raise InvalidSchedule("month_day() names no day: 1 to 31 is allowed")
        numbers = tuple(quantities.whole(day, "month_day", 1, 31) for day in days)
        return self._on_days("month_day()", month_days=numbers)

    def last_day(self) -> Schedule:
        """On the last day of each month."""
        return self._on_days("last_day()", last_day=True)

    def _on_days(
        self,
        word: str,
        weekdays: tuple[int, ...] = (),
        month_days: tuple[int, ...] = (),
        last_day: bool = False,
    ) -> Schedule:
        if self.form is None:
            form = WallClock()
        elif isinstance(self.form, WallClock):
            form = self.form
        else:
            raise InvalidSchedule(f"{word} does not go with {self._form_name()}: a schedule has one form")
        if form.times:
            raise InvalidSchedule(f"{word} comes after at(): name all days first, they share all times")
        numbered = form.month_days or form.last_day
        if (weekdays and numbered) or (form.weekdays and not weekdays):
            raise InvalidSchedule(
                f"{word}: days of the week and of the month do not go together; cron() can say either"
            )
        return self.evolve(
            form=form.evolve(
                weekdays=tuple(sorted({*form.weekdays, *weekdays})),
                month_days=tuple(sorted({*form.month_days, *month_days})),
                last_day=form.last_day or last_day,
            )
        )

    def at(self, *times: str) -> Schedule:
        """At these times of the days named before, such as ``10:00PM``, ``9:30am`` or ``22:00``."""
        if not times:
            raise InvalidSchedule("at() names no time: '22:00', '10:00PM' or '9:30am' is allowed")
        if not isinstance(self.form, WallClock):
            raise InvalidSchedule(f"at() follows days, such as every_day(), not {self._form_name()}")
        clocks = {(clock.hour, clock.minute): clock for clock in self.form.times}
        for time in times:
            hour, minute, text = quantities.time_of_day(time)
            clocks.setdefault((hour, minute), Clock(hour, minute, text))
        return self.evolve(form=self.form.evolve(times=tuple(clocks[key] for key in sorted(clocks))))

    # the other forms

    def cron(self, expression: str) -> Schedule:
        """By a cron expression of five fields, or a nickname such as ``@daily``."""
        self._must_be_new("cron()")
        if isinstance(expression, str) and expression.strip().lower() == "@reboot":
            return self.at_boot()
        return self.evolve(form=_cron.parse(expression))

    def at_boot(self) -> Schedule:
        """Once after each boot."""
        self._must_be_new("at_boot()")
        return self.evolve(form=Boot())

    def _must_be_new(self, word: str) -> None:
        if self.form is not None:
            raise InvalidSchedule(f"{word} does not go with {self._form_name()}: a schedule has one form")

    def _form_name(self) -> str:
        names = {Period: "every()", WallClock: "days and at()", Cron: "cron()", Boot: "at_boot()"}
        return names.get(type(self.form), "nothing")

    # refinements

    def in_timezone(self, name: str) -> Schedule:
        """By the clocks of an IANA zone such as ``Africa/Nairobi``."""
        if not isinstance(name, str):
            raise InvalidSchedule(
                f"in_timezone({quantities.shown(name)}): an IANA name such as 'Africa/Nairobi' is allowed"
            )
        wallclock.zone_named(name)
        return self.evolve(policy=self.policy.evolve(timezone=name, zone_is_default=False))

    def retry(self, tries: int, delay: float | str = 0, backoff: float = 1) -> Schedule:
        """Try up to `tries` times, the first wait `delay`, each further one `backoff` times as long."""
        return self._refined(tries=tries, delay=delay, backoff=backoff)

    def timeout(self, limit: float | str) -> Schedule:
        """End each try after that long: seconds, or a text such as ``1h 30m``."""
        return self._refined(timeout=limit)

    def jitter(self, most: float | str) -> Schedule:
        """Begin up to that much later, at random."""
        return self._refined(jitter=most)

    def missed(self, what: str) -> Schedule:
        """What to do about times missed in sleep or power-off: run ``once``, or ``skip`` them."""
        return self._refined(missed=what)

    def limit(self, memory: int | str | None = None, cpu: int | str | None = None) -> Schedule:
        """Bounds that the system enforces: memory such as ``512M``, processor share such as ``50%``."""
        given = {key: value for key, value in (("memory", memory), ("cpu", cpu)) if value is not None}
        if not given:
            raise InvalidSchedule("limit() bounds nothing: memory='512M' or cpu='50%' is allowed, or both")
        return self._refined(**given)

    def on_failure(self, what: str) -> Schedule:
        """After a failed run ``hold`` the task until it is resolved, or ``continue``."""
        return self._refined(on_failure=what)

    def _refined(self, **written: object) -> Schedule:
        return self.evolve(policy=self.policy.refined(**written))

    # completeness

    def build(self) -> Schedule:
        """The same value; `InvalidSchedule` when something is missing."""
        self.check()
        return self

    def check(self) -> None:
        """Raises `InvalidSchedule` when the chain is incomplete or its parts do not fit together."""
        form = self.form
        if form is None:
            raise InvalidSchedule(f"the schedule says nothing about when: {_FORMS} is allowed")
        if isinstance(form, Period) and not form.units:
            raise InvalidSchedule(
                f"every({form.interval}) has no unit: seconds(), minutes() or hours() follows it"
            )
        if isinstance(form, WallClock) and not form.times:
            raise InvalidSchedule("days without at(): name the times of day, such as at('22:00')")
        if isinstance(form, WallClock) and not form.has_days:
            raise InvalidSchedule("at() without days: name them before it, such as every_day()")
        if isinstance(form, Boot) and self.policy.missed == "once":
            raise InvalidSchedule("missed('once') does not go with at_boot(): no boot can be missed")
        if self.policy.jitter and self.policy.jitter >= self._shortest_gap():
            raise InvalidSchedule(
                f"jitter is {quantities.duration(self.policy.jitter)}: it must be shorter than the "
                f"{quantities.duration(self._shortest_gap())} from one time to the next"
            )

    def _shortest_gap(self) -> float:
        """The least time in seconds from one due time to the next, at most a day for wall clocks."""
        if isinstance(self.form, Period):
            return self.form.seconds
        if not isinstance(self.form, (WallClock, Cron)):
            return 86400 + 1
        minutes = self.form.minutes_of_day
        return 60 * min(later - sooner for sooner, later in zip(minutes, (*minutes[1:], minutes[0] + 1440)))

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
            return [(_EPOCH + phase + (k + i) * period).astimezone(zone) for i in range(n)]
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
            raise InvalidSchedule(f"{quantities.shown(stored)} is no stored schedule of version 1")
        try:
            schedule = cls(_form_of(stored["form"]), Policy.from_dict(stored["policy"]))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
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


def _form_of(stored: dict[str, object]) -> Period | WallClock | Cron | Boot | None:
    """Through the chain's own methods, so that nothing gets in which they would refuse."""
    kind, new = stored["kind"], Schedule()
    if kind == "period" and stored["units"] in UNITS:
        return getattr(new.every(stored["interval"]), str(stored["units"]))().form
    if kind == "wallclock":
        for day in stored["weekdays"]:
            new = getattr(new, DAYS[day].lower())()
        if stored["month_days"]:
            new = new.month_day(*stored["month_days"])
        if stored["last_day"]:
            new = new.last_day()
        return new.at(*stored["times"]).form
    if kind == "cron":
        return new.cron(stored["expression"]).form
    if kind == "boot":
        return Boot()
    raise InvalidSchedule(f"a stored schedule has the unknown form {quantities.shown(kind)}")
