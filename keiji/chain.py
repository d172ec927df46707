"""The chain of methods by which an author writes a schedule, and what it refuses."""

from __future__ import annotations

from keiji import quantities, wallclock
from keiji.cron import parse as parse_cron
from keiji.errors import InvalidSchedule
from keiji.forms import UNITS, WEEK, Boot, Clock, Cron, Period, WallClock
from keiji.frozen import Value
from keiji.policy import Policy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing_extensions import Self

_LONGEST = 3650 * 86400  # seconds
_FORMS = "every(n).seconds(), days with at(), cron() or at_boot()"


class Chain(Value):
    """When a task runs (`form`) and how it is treated (`policy`), as far as it has been said.

    Each method returns a new value, or raises `InvalidSchedule` in one line.
    """

    form: Period | WallClock | Cron | Boot | None = None
    policy: Policy = Policy()

    # words that only make it read well

    def run(self) -> Self:
        """Says nothing; it makes a period read well."""
        return self

    def on(self) -> Self:
        """Says nothing; it makes days read well."""
        return self

    # periods

    def every(self, n: int = 1) -> Self:
        """A period of `n` of the unit that follows: `seconds()`, `minutes()` or `hours()`."""
        self._must_be_new(f"every({quantities.shown(n)})")
        return self.evolve(form=Period(quantities.whole(n, "every(n)", 1, _LONGEST)))

    def seconds(self) -> Self:
        """The unit of `every(n)`."""
        return self._with_unit("seconds")

    def minutes(self) -> Self:
        """The unit of `every(n)`."""
        return self._with_unit("minutes")

    def hours(self) -> Self:
        """The unit of `every(n)`."""
        return self._with_unit("hours")

    second, minute, hour = seconds, minutes, hours

    def _with_unit(self, units: str) -> Self:
        if not isinstance(self.form, Period) or self.form.units:
            raise InvalidSchedule(f"{units}() stands alone: it follows every(n), once")
        quantities.whole(self.form.interval, f"every(n).{units}()", 1, _LONGEST // UNITS[units])
        return self.evolve(form=self.form.evolve(units=units))

    # days and times

    def monday(self) -> Self:
        """On Mondays."""
        return self._on_days("monday()", weekdays=(0,))

    def tuesday(self) -> Self:
        """On Tuesdays."""
        return self._on_days("tuesday()", weekdays=(1,))

    def wednesday(self) -> Self:
        """On Wednesdays."""
        return self._on_days("wednesday()", weekdays=(2,))

    def thursday(self) -> Self:
        """On Thursdays."""
        return self._on_days("thursday()", weekdays=(3,))

    def friday(self) -> Self:
        """On Fridays."""
        return self._on_days("friday()", weekdays=(4,))

    def saturday(self) -> Self:
        """On Saturdays."""
        return self._on_days("saturday()", weekdays=(5,))

    def sunday(self) -> Self:
        """On Sundays."""
        return self._on_days("sunday()", weekdays=(6,))

    def weekdays(self) -> Self:
        """From Monday to Friday."""
        return self._on_days("weekdays()", weekdays=WEEK[:5])

    def every_day(self) -> Self:
        """On each day of the week."""
        return self._on_days("every_day()", weekdays=WEEK)

    def month_day(self, *days: int) -> Self:
        """On these days of the month, 1 to 31, in the months that have them."""
        if not days:
            raise InvalidSchedule("month_day() names no day: 1 to 31 is allowed")
        numbers = tuple(quantities.whole(day, "month_day", 1, 31) for day in days)
        return self._on_days("month_day()", month_days=numbers)

    def last_day(self) -> Self:
        """On the last day of each month."""
        return self._on_days("last_day()", last_day=True)

    def _on_days(
        self,
        word: str,
        weekdays: tuple[int, ...] = (),
        month_days: tuple[int, ...] = (),
        last_day: bool = False,
    ) -> Self:
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

    def at(self, *times: str) -> Self:
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

    def cron(self, expression: str) -> Self:
        """By a cron expression of five fields, or a nickname such as ``@daily``."""
        self._must_be_new("cron()")
        if isinstance(expression, str) and expression.strip().lower() == "@reboot":
            return self.at_boot()
        return self.evolve(form=parse_cron(expression))

    def at_boot(self) -> Self:
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

    def in_timezone(self, name: str) -> Self:
        """By the clocks of an IANA zone such as ``Africa/Nairobi``."""
        if not isinstance(name, str):
            raise InvalidSchedule(
                f"in_timezone({quantities.shown(name)}): an IANA name such as 'Africa/Nairobi' is allowed"
            )
        wallclock.zone_named(name)
        return self.evolve(policy=self.policy.evolve(timezone=name, zone_is_default=False))

    def retry(self, tries: int, delay: float | str = 0, backoff: float = 1) -> Self:
        """Try up to `tries` times, the first wait `delay`, each further one `backoff` times as long."""
        return self._refined(tries=tries, delay=delay, backoff=backoff)

    def timeout(self, limit: float | str) -> Self:
        """End each try after that long: seconds, or a text such as ``1h 30m``."""
        return self._refined(timeout=limit)

    def jitter(self, most: float | str) -> Self:
        """Begin up to that much later, at random."""
        return self._refined(jitter=most)

    def missed(self, what: str) -> Self:
        """What to do about times missed in sleep or power-off: run ``once``, or ``skip`` them."""
        return self._refined(missed=what)

    def limit(self, memory: int | str | None = None, cpu: int | str | None = None) -> Self:
        """Bounds that the system enforces: memory such as ``512M``, processor share such as ``50%``."""
        given = {key: value for key, value in (("memory", memory), ("cpu", cpu)) if value is not None}
        if not given:
            raise InvalidSchedule("limit() bounds nothing: memory='512M' or cpu='50%' is allowed, or both")
        return self._refined(**given)

    def on_failure(self, what: str) -> Self:
        """After a failed run ``hold`` the task until it is resolved, or ``continue``."""
        return self._refined(on_failure=what)

    def _refined(self, **written: object) -> Self:
        return self.evolve(policy=self.policy.refined(**written))

    # completeness

    def build(self) -> Self:
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
        following = (*minutes[1:], minutes[0] + 1440)
        return 60 * min(later - sooner for sooner, later in zip(minutes, following, strict=True))
