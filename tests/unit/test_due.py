"""When a run was due, and whether it made up for a missed time."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from recording import a_task, an_entry, ended

from keiji.due import firings_of, run_of
from keiji.run import Result, Trigger
from keiji.schedule import Schedule, phase_of

FRIDAY = datetime(2026, 11, 27, 19, 0, tzinfo=timezone.utc)  # 22:00 in Nairobi


def _reason(schedule: Schedule, late: timedelta, due: datetime = FRIDAY, why: str = "timer"):
    return firings_of(a_task(schedule=schedule.build()), "Africa/Nairobi").reason(why, due + late)


def _at_ten() -> Schedule:
    return Schedule().on().friday().at("10:00PM")


@pytest.mark.parametrize("late", [timedelta(0), timedelta(microseconds=1), timedelta(seconds=60)])
def test_a_firing_within_a_minute_is_on_time(late):
    assert _reason(_at_ten(), late) == (Trigger.TIMER, FRIDAY)


@pytest.mark.parametrize("late", [timedelta(seconds=61), timedelta(days=2)])
def test_a_later_one_made_up_for_a_missed_time(late):
    assert _reason(_at_ten(), late) == (Trigger.CATCH_UP, FRIDAY)


def test_jitter_is_no_lateness():
    schedule = _at_ten().jitter("10m")

    assert _reason(schedule, timedelta(seconds=660))[0] == Trigger.TIMER
    assert _reason(schedule, timedelta(seconds=661))[0] == Trigger.CATCH_UP


def test_what_makes_up_for_nothing_is_never_a_catch_up():
    assert _reason(_at_ten().missed("skip"), timedelta(hours=1)) == (Trigger.TIMER, FRIDAY)


def test_the_zone_of_the_schedule_comes_before_the_settings():
    due = datetime(2026, 11, 27, 13, 0, tzinfo=timezone.utc)  # 22:00 in Tokyo

    assert _reason(_at_ten().in_timezone("Asia/Tokyo"), timedelta(0), due) == (Trigger.TIMER, due)


def test_a_period_is_due_at_the_tasks_own_phase():
    due = datetime(2026, 11, 27, tzinfo=timezone.utc) + phase_of(3600, "ping")
    hourly = Schedule().run().every(1).hours()

    assert _reason(hourly, timedelta(seconds=5), due) == (Trigger.TIMER, due)
    assert _reason(hourly, timedelta(minutes=30), due) == (Trigger.CATCH_UP, due)


def test_a_short_period_that_divides_no_day_only_seems_late():
    due = (
        datetime(1970, 1, 1, tzinfo=timezone.utc) + phase_of(1500, "ping") + 1_000_000 * timedelta(minutes=25)
    )

    assert _reason(Schedule().run().every(25).minutes().missed("once"), timedelta(minutes=20), due) == (
        Trigger.TIMER,
        due,
    )


def test_a_manual_run_and_one_at_boot_are_due_at_no_time():
    assert _reason(_at_ten(), timedelta(hours=1), why="manual") == (Trigger.MANUAL, None)
    assert _reason(Schedule().at_boot(), timedelta(0), why="boot") == (Trigger.BOOT, None)
    assert _reason(Schedule().at_boot(), timedelta(0), why="timer") == (Trigger.TIMER, None)


def test_a_zone_that_is_gone_costs_the_due_time_and_not_the_record():
    stored = _at_ten().in_timezone("Asia/Tokyo").build().to_dict()
    stored["policy"] |= {"timezone": "Mars/Olympus"}

    assert _reason(Schedule.from_dict(stored), timedelta(hours=1)) == (Trigger.TIMER, None)


def test_the_record_says_all_that_the_file_says():
    entry = ended(an_entry(), Result.FAILED, status=3, signal=None, attempts=2, cpu=0.5, memory=7, error="no")
    run = run_of(entry, "here", firings_of(a_task(), "UTC"))

    assert (run.id, run.task, run.host, run.began, run.ended) == (
        entry.id,
        "ping",
        "here",
        entry.began,
        entry.ended,
    )
    assert (run.result, run.exit_status, run.signal, run.attempts) == (Result.FAILED, 3, None, 2)
    assert (run.cpu_seconds, run.peak_memory_bytes, run.error, run.build) == (0.5, 7, "no", "a1b2")
    assert run.due is not None
    assert timedelta(0) <= run.began - run.due < timedelta(minutes=1)
