"""Reading a cron expression: five fields, names, ranges, steps, lists, and nicknames such as @daily."""

from __future__ import annotations

from keiji.errors import InvalidSchedule
from keiji.forms import Cron
from keiji.frozen import Value
from keiji.quantities import shown

_NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


class _Field(Value):
    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()

    @property
    def top(self) -> int:
        """The highest value that is not another name of a lower one, as 7 is of Sunday."""
        return 6 if self.high == 7 else self.high


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of week", 0, 7, _DAYS),
)


def parse(expression: object) -> Cron:
    """What a cron expression says; `InvalidSchedule` names the field that is wrong and its range."""
    if not isinstance(expression, str):
        raise InvalidSchedule(f"cron({shown(expression)}): a text such as '*/15 9-17 * * mon-fri' is allowed")
    written = " ".join(expression.split())
    texts = _NICKNAMES.get(written.lower(), written).split()
    if written.startswith("@") and written.lower() not in _NICKNAMES:
        raise InvalidSchedule(f"cron({shown(written)}): {', '.join((*_NICKNAMES, '@reboot'))} are allowed")
    if len(texts) != len(_FIELDS):
        raise InvalidSchedule(
            f"cron({shown(written)}) has {len(texts)} fields: five are allowed, "
            "minute, hour, day of month, month, day of week"
        )
    minutes, hours, month_days, months, weekdays = map(_values, _FIELDS, texts)
    parsed = Cron(
        expression=written,
        minutes=minutes,
        hours=hours,
        month_days=month_days,
        months=months,
        weekdays=tuple(sorted({(day - 1) % 7 for day in weekdays})),
        star_dom=texts[2].startswith("*"),
        star_dow=texts[4].startswith("*"),
        wildcard=texts[0].startswith("*") or texts[1].startswith("*"),
    )
    if not parsed.either and month_days[0] > max(_LONGEST[month - 1] for month in months):
        raise InvalidSchedule(
            f"cron({shown(written)}) never comes: none of its months has a day {month_days[0]}"
        )
    return parsed


def _values(field: _Field, text: str) -> tuple[int, ...]:
    return tuple(sorted({value for term in text.split(",") for value in _term(field, term)}))


def _term(field: _Field, term: str) -> range:
    """One member of a list: ``*``, a number or name, a range, and the step of a ``*`` or range."""
    reach, slash, step = term.partition("/")
    low, dash, high = reach.partition("-")
    if reach == "*":
        first, last = field.low, field.high
    else:
        first = _one(field, low)
        last = _one(field, high) if dash else first
    if first > last:
        raise InvalidSchedule(
            f"cron's {field.name} {shown(reach)} runs backwards: write it as a list, "
            f"such as '{_reach(first, field.top)},{_reach(field.low, last)}'"
        )
    if not slash:
        return range(first, last + 1)
    if reach != "*" and not dash:
        raise InvalidSchedule(
            f"cron's {field.name} {shown(term)}: "
            f"a step needs '*' or a range, such as '{low}-{field.top}/{step}'"
        )
    return range(first, last + 1, _step(field, step))


def _step(field: _Field, text: str) -> int:
    most = field.top - field.low + 1
    if not _is_number(text) or not 1 <= int(text) <= most:
        raise InvalidSchedule(f"cron's {field.name} has the step {shown(text)}: 1 to {most} is allowed")
    return int(text)


def _one(field: _Field, text: str) -> int:
    if text.lower() in field.names:
        return field.names.index(text.lower()) + field.low
    if not _is_number(text) or not field.low <= int(text) <= field.high:
        names = f" or {field.names[0]} to {field.names[-1]}" if field.names else ""
        raise InvalidSchedule(
            f"cron's {field.name} is {shown(text)}: {field.low} to {field.high}{names} is allowed"
        )
    return int(text)


def _reach(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 4
