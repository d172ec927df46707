"""What authors write as text or number (durations, sizes, shares, times of day), read and written."""

from __future__ import annotations

from keiji.errors import InvalidSchedule

YEAR = 366 * 86400
_SECONDS = {
    "ms": 0.001,
    **dict.fromkeys(("", "s", "sec", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), 86400),
}
_BYTES = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def whole(value: object, what: str, low: int, high: int) -> int:
    """`value` as a whole number from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InvalidSchedule(f"{what} is {shown(value)}: a whole number from {low} to {high} is allowed")
    return value


def number(value: object, what: str, low: float, high: float) -> float:
    """`value` as a number from `low` to `high`."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise InvalidSchedule(f"{what} is {shown(value)}: a number from {low:g} to {high:g} is allowed")
    return value


def one_of(value: object, what: str, allowed: tuple[str, ...]) -> str:
    """`value` as one of the words in `allowed`."""
    if not isinstance(value, str) or value not in allowed:
        raise InvalidSchedule(f"{what} is {shown(value)}: {' or '.join(map(repr, allowed))} is allowed")
    return value


def seconds(value: object, what: str, low: float, high: float = YEAR) -> float:
    """A duration in seconds from a number of them or a text such as ``1h 30m``, ``500ms``."""
    total = _sum(value) if isinstance(value, str) else value
    if isinstance(total, bool) or not isinstance(total, (int, float)) or not low <= total <= high:
        raise InvalidSchedule(
            f"{what} is {shown(value)}: seconds or a text such as '30s', '1h 30m' is allowed, "
            f"from {duration(low)} to {duration(high)}"
        )
    return round(total, 3)


def _sum(text: str) -> float | None:
    """The sum of the parts of ``1h 30m``; None when it cannot be read."""
    total: float = 0
    rest = text.strip()
    while rest:
        digits = _leading(rest, "0123456789.")
        name = _leading(rest[len(digits) :].lstrip(), "abcdefghijklmnopqrstuvwxyz")
        amount = _decimal(digits)
        if amount is None or name not in _SECONDS:
            return None
        rest = rest[len(digits) :].lstrip()[len(name) :].lstrip()
        if not name and (rest or total):
            return None  # "1h 30": thirty of what?
        total += amount * _SECONDS[name]
    return total if text.strip() else None


def _leading(text: str, allowed: str) -> str:
    return text[: len(text) - len(text.lstrip(allowed))]


def _decimal(digits: str) -> float | None:
    """Plain decimal digits only: `float` would also read ``1e9``, ``nan`` and ``1_000``."""
    bare = digits.replace(".", "", 1)
    if not (bare.isascii() and bare.isdigit() and len(bare) <= 20):
        return None
    return float(digits) if "." in digits else int(digits)


def duration(amount: float) -> str:
    """Seconds as people write them: ``90.0`` is ``1m30s``."""
    parts = []
    milliseconds = round(amount * 1000)
    for name, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, milliseconds = divmod(milliseconds, size)
        if count:
            parts.append(f"{count}{name}")
    return "".join(parts) or "0s"


def memory(value: object) -> int:
    """Bytes from a whole number of them or a text such as ``512M`` (K, M, G, T of 1024)."""
    amount: float | None = None
    if isinstance(value, int) and not isinstance(value, bool):
        amount = value
    elif isinstance(value, str):
        digits = _leading(value, "0123456789.")
        count, unit = _decimal(digits), value[len(digits) :].strip().upper()
        amount = None if count is None or unit not in _BYTES else count * _BYTES[unit]
    if amount is None or not 8 << 20 <= amount <= 1024 << 40:
        raise InvalidSchedule(
            f"memory is {shown(value)}: bytes or a text such as '512M', '2G' is allowed, from 8M to 1024T"
        )
    return int(amount)


def size(amount: int) -> str:
    """Bytes as people write them: ``536870912`` is ``512M``."""
    for unit in "TGMK":
        if amount % _BYTES[unit] == 0:
            return f"{amount // _BYTES[unit]}{unit}"
    return str(amount)


def percent(value: object) -> int:
    """Percent of one processor from ``50%`` or a whole number."""
    bare: object = value
    if isinstance(value, str):
        digits = value.strip().removesuffix("%").strip()
        bare = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 9 else None
    if isinstance(bare, bool) or not isinstance(bare, int) or not 1 <= bare <= 100_000:
        raise InvalidSchedule(
            f"cpu is {shown(value)}: a whole percentage of one processor such as '50%' or '150%' is allowed"
        )
    return bare


def time_of_day(value: object) -> tuple[int, int, str]:
    """Hour, minute and the text as written, from ``10:00PM``, ``9:30am`` or ``22:00``."""
    text = "".join(value.split()) if isinstance(value, str) else ""
    half = text[-2:].upper() if text[-2:].upper() in ("AM", "PM") else ""
    hours, _, minutes = text[: len(text) - len(half)].partition(":")
    plain = hours.isascii() and hours.isdigit() and minutes.isascii() and minutes.isdigit()
    if not plain or len(hours) > 2 or len(minutes) != 2 or int(minutes) > 59:
        raise InvalidSchedule(
            f"at({shown(value)}) is no time of day: '22:00', '10:00PM' or '9:30am' is allowed"
        )
    hour = int(hours)
    if half and not 1 <= hour <= 12:
        plainly = f"{hour:02}:{minutes}" if 12 < hour < 24 else f"12:{minutes}AM" if not hour else "10:00PM"
        raise InvalidSchedule(
            f"at({shown(value)}): with AM or PM hours go from 1 to 12; write {plainly!r} for instance"
        )
    if hour > 23:
        raise InvalidSchedule(f"at({shown(value)}): hours go from 0 to 23, or from 1 to 12 with AM or PM")
    if half:
        hour = hour % 12 + (12 if half == "PM" else 0)
    return hour, int(minutes), text


def shown(value: object) -> str:
    """A value in a message: short, and on one line."""
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**18 else "a huge number"
    return text if len(text) <= 60 else text[:57] + "..."
