"""A model of what launchd fires, by its manual; and the runner's guard behind it, on a clock of its own.

This is launchd.plist(5) taken at its word, no measurement: a dictionary of `StartCalendarInterval` names the
minutes whose reading on the machine's clock has all its values, Day and Weekday are an OR, what is not said
is any. Nothing is started while the job runs. What launchd really does where clocks change is not known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, datetime, time, timedelta, timezone
from itertools import pairwise
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch
from zoneinfo import ZoneInfo

import keiji.runner  # noqa: F401 - the parts find it among the modules
from keiji import runner_launchd, runner_rare, runner_tries
from keiji.launchd import calendar
from keiji.schedule import Schedule
from keiji.wallclock import transitions

UTC = timezone.utc
Entry = dict[str, int]


def fires(entries: Iterable[Entry], machine: str, start: datetime, end: datetime) -> Iterator[datetime]:
    """The full minutes in (start, end] at which launchd starts the job."""
    by_day: dict[date, list[int]] = {}
    edges = [start, *(at for at, _, _ in transitions(machine, start, end)), end + timedelta(seconds=1)]
    for begin, over in pairwise(edges):
        offset = begin.astimezone(ZoneInfo(machine)).utcoffset() or timedelta()
        first, last = ((at + offset).replace(tzinfo=None) for at in (begin, over))
        for ahead in range((last.date() - first.date()).days + 1):
            day = first.date() + timedelta(days=ahead)
            if day not in by_day:
                by_day[day] = sorted({minute for entry in entries for minute in _minutes(entry, day)})
            midnight = datetime.combine(day, time())
            for minute in by_day[day]:
                reading = midnight + timedelta(minutes=minute)
                if first <= reading < last and reading - offset > start.replace(tzinfo=None):
                    yield (reading - offset).replace(tzinfo=UTC)


def _minutes(entry: Entry, day: date) -> Iterable[int]:
    """The minutes of that day that a dictionary names."""
    read = {"Day": day.day, "Weekday": day.isoweekday() % 7}
    named = [entry[key] == value for key, value in read.items() if key in entry]
    if entry.get("Month", day.month) != day.month or (named and not any(named)):
        return ()
    hours = [entry["Hour"]] if "Hour" in entry else range(24)
    return [hour * 60 + entry["Minute"] for hour in hours]


class Clock:
    """The time, which only naps move on."""

    def __init__(self) -> None:
        self.now = 0.0

    def time(self) -> float:
        return self.now

    monotonic = time

    def sleep(self, run: object, seconds: float) -> bool:
        self.now += seconds
        return True


def runs(
    schedule: Schedule,
    slug: str,
    starts: Iterable[datetime],
    armed: datetime,
    took: float = 0.0,
) -> list[datetime]:
    """The due times of the runs that the guard lets begin, of an agent that is started at `starts`.

    It was armed deliberately at `armed`. A run takes `took` seconds; what launchd fires meanwhile is lost.
    """
    constants = calendar.firing(schedule, slug)
    config = SimpleNamespace(SCHEDULE=None, JITTER=0.0, SLUG=slug, **constants)
    clock, memory, found = Clock(), [armed.timestamp()], []
    starts = list(starts)
    last = starts[-1].timestamp() + 3600 if starts else 0.0

    def due(config: Any, at: float) -> float | None:
        last = schedule.last_time(datetime.fromtimestamp(at, UTC), timedelta(seconds=config.PHASE))
        return last.timestamp() if last else None

    def remember(run: Any) -> None:
        memory[0] = float(run.remember)

    with (
        patch.object(runner_rare, "_due", due),
        patch.object(runner_rare, "_last", lambda run: memory[0]),
        patch.object(runner_rare, "remember", remember),
        patch.object(runner_rare, "_skip", lambda run, why: False),
        patch.object(runner_tries, "sleep", clock.sleep),
        patch.object(runner_launchd, "time", clock),
        patch.object(runner_launchd, "renew", lambda run: None),
        patch.object(runner_launchd, "_note", lambda *words: None),
        patch.object(runner_launchd, "unlinked", lambda path: False),
        patch.object(runner_rare, "_exists", lambda path: False),
        patch.object(runner_rare, "time", clock),
    ):
        for start in starts:
            if start.timestamp() < clock.now:
                continue  # it runs still
            clock.now = start.timestamp()
            run = SimpleNamespace(
                config=config, why="timer", began=clock.now, since=0.0, folder="", remember="", pid=1
            )
            while runner_launchd._may_run(run):
                remember(run)
                found.append(datetime.fromtimestamp(memory[0], UTC))
                clock.now += took
                runner_launchd.take_due(run)
                # A period that is shorter than its runs would keep the process for ever.
                if not runner_launchd.misses_next(run) or clock.now > last:
                    break
                run.began = clock.now  # anew, in the same process
    return found
