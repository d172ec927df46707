"""The forms a schedule can have: a period, a wall clock, a cron expression, the boot."""

from __future__ import annotations

from keiji.frozen import Value

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
UNITS = {"seconds": 1, "minutes": 60, "hours": 3600}
WEEK = (0, 1, 2, 3, 4, 5, 6)
ALL_MONTHS = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12)


class Period(Value):
    """Elapsed time: every `interval` `units`. `units` is empty until the author has named one."""

    interval: int
    units: str = ""

    @property
    def seconds(self) -> int:
        return self.interval * UNITS[self.units]

    def meaning(self) -> tuple[object, ...]:
        return (self.seconds,) if self.units else (self.interval, "")

    def __str__(self) -> str:
        return f"units:{self.units},interval:{self.interval}"


class Clock(Value):
    """A time of day; `text` is how it was written."""

    hour: int
    minute: int
    text: str

    def meaning(self) -> tuple[object, ...]:
        return (self.hour, self.minute)

    def __str__(self) -> str:
        return self.text


class WallClock(Value):
    """Days and times of day. `weekdays` has Monday as 0; every tuple is sorted."""

    weekdays: tuple[int, ...] = ()
    month_days: tuple[int, ...] = ()
    last_day: bool = False
    times: tuple[Clock, ...] = ()

    months = ALL_MONTHS
    wildcard = False

    @property
    def has_days(self) -> bool:
        return bool(self.weekdays or self.month_days or self.last_day)

    @property
    def minutes_of_day(self) -> tuple[int, ...]:
        return tuple(clock.hour * 60 + clock.minute for clock in self.times)

    def falls_on(self, day: int, weekday: int, month_length: int) -> bool:
        """Whether it is due on that `day` of a month."""
        return weekday in self.weekdays or day in self.month_days or (self.last_day and day == month_length)

    def _days(self) -> str:
        if self.weekdays == WEEK:
            return "days:every"
        if self.weekdays == WEEK[:5]:
            return "days:weekdays"
        if self.weekdays:
            named = " ".join(DAYS[day] for day in self.weekdays)
            return f"day:{named}" if len(self.weekdays) == 1 else f"days:{named}"
        numbered = [str(day) for day in self.month_days] + ["last"] * self.last_day
        return "month_day:" + " ".join(numbered)

    def __str__(self) -> str:
        return f"{self._days()},time:{' '.join(map(str, self.times))}"


class Cron(Value):
    """A cron expression and what it says. `weekdays` has Monday as 0; every tuple is sorted.

    `star_dom`, `star_dow`: that field begins with ``*``, so that a day must match both fields; else
    matching one of them is enough. `wildcard`: the minute or hour field begins with ``*``.
    """

    expression: str
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    month_days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]
    star_dom: bool
    star_dow: bool
    wildcard: bool

    @property
    def either(self) -> bool:
        """Whether matching one of the two day fields is enough."""
        return not (self.star_dom or self.star_dow)

    @property
    def minutes_of_day(self) -> tuple[int, ...]:
        return tuple(hour * 60 + minute for hour in self.hours for minute in self.minutes)

    def falls_on(self, day: int, weekday: int, month_length: int) -> bool:
        """Whether it is due on that `day` of one of its months."""
        if self.either:
            return day in self.month_days or weekday in self.weekdays
        return day in self.month_days and weekday in self.weekdays

    def meaning(self) -> tuple[object, ...]:
        days = (self.month_days, self.months, self.weekdays, self.either)
        return (self.minutes, self.hours, *days, self.wildcard)

    def __str__(self) -> str:
        return f"cron:{self.expression}"


class Boot(Value):
    """Once after each boot."""

    def __str__(self) -> str:
        return "boot"
