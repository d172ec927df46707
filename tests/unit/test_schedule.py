"""What a schedule means: kind, text, equality, times of periods, storage."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

import keiji
from keiji.errors import InvalidSchedule
from keiji.schedule import PARTS, Policy, Schedule, phase_of

S = Schedule
UTC = timezone.utc
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
EVERY_FORM = [
    (S().run().every(10).seconds(), "HMS", "units:seconds,interval:10"),
    (S().run().every(25).minutes(), "HMS", "units:minutes,interval:25"),
    (S().run().every(36).hours(), "HMS", "units:hours,interval:36"),
    (S().on().friday().at("10:00PM"), "DayTime", "day:Friday,time:10:00PM"),
    (S().on().sunday().at("9:30am"), "DayTime", "day:Sunday,time:9:30am"),
    (S().on().friday().at("22:00", "9:30am"), "Calendar", "day:Friday,time:9:30am 22:00"),
    (S().on().monday().friday().at("17:30", "09:00"), "Calendar", "days:Monday Friday,time:09:00 17:30"),
    (S().on().weekdays().at("9:00"), "Calendar", "days:weekdays,time:9:00"),
    (S().on().every_day().at("9:00"), "Calendar", "days:every,time:9:00"),
    (S().on().month_day(1).at("9:00"), "Calendar", "month_day:1,time:9:00"),
    (S().on().month_day(15, 1).last_day().at("9:00"), "Calendar", "month_day:1 15 last,time:9:00"),
    (S().on().last_day().at("9:00"), "Calendar", "month_day:last,time:9:00"),
    (S().cron("*/15 9-17 * * mon-fri"), "Calendar", "cron:*/15 9-17 * * mon-fri"),
    (S().cron("@daily"), "Calendar", "cron:@daily"),
    (S().at_boot(), "Boot", "boot"),
]
SCHEDULES = [schedule for schedule, _, _ in EVERY_FORM]


@pytest.mark.parametrize(("schedule", "kind", "text"), EVERY_FORM)
def test_every_form_has_its_kind_and_text(schedule: Schedule, kind: str, text: str) -> None:
    assert schedule.build().kind == kind
    assert str(schedule) == text
    assert repr(schedule) == f"<Schedule {text}>"


def test_refinements_follow_the_form_in_the_text() -> None:
    schedule = (
        S().friday().at("10:00PM").timeout("1h 30m").in_timezone("Africa/Nairobi").on_failure("continue")
    )

    assert str(schedule) == (
        "day:Friday,time:10:00PM,timezone:Africa/Nairobi,timeout:1h30m,on_failure:continue"
    )


def test_an_incomplete_schedule_can_be_printed_but_not_used() -> None:
    assert str(S()) == "incomplete"
    for use in (
        lambda schedule: schedule.next_times(NOON, 1),
        lambda schedule: schedule.last_time(NOON),
        lambda schedule: schedule.to_dict(),
        lambda schedule: schedule.check(),
    ):
        for schedule in (S(), S().every(5), S().monday()):
            str(schedule)
            with pytest.raises(InvalidSchedule):
                use(schedule)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (S().every(60).seconds(), S().every(1).minutes()),
        (S().friday().at("10:00PM"), S().friday().at("22:00")),
        (S().cron("@daily"), S().cron("0 0 * * *")),
        (S().cron("0 0 * * 0"), S().cron("0  0 * * sun")),
        (S().every_day().at("9:00"), S().every_day().at("9:00").missed("once")),
        (S().every(1).second(), S().every(1).second().missed("skip")),
        (S().every(1).hour().timeout("1m"), S().every(1).hour().timeout(60.0)),
        (S().every_day().at("9:00").in_zone("UTC"), S().every_day().at("9:00").in_timezone("UTC")),
    ],
)
def test_schedules_are_equal_when_they_say_the_same(one: Schedule, other: Schedule) -> None:
    assert one == other
    assert hash(one) == hash(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (S().every(60).seconds(), S().every(61).seconds()),
        (S().friday().at("22:00"), S().friday().at("10:00")),
        (S().cron("0 0 1 * mon"), S().cron("0 0 */1 * mon")),
        (S().cron("0 0-23 * * *"), S().cron("0 * * * *")),  # they differ where clocks change
        (S().every_day().at("9:00"), S().every_day().at("9:00").missed("skip")),
        (S().every(1).hour(), S().every(1).hour().retry(2)),
        (S().every_day().at("9:00"), S().every_day().at("9:00").in_timezone("UTC")),
        (S().at_boot(), S().every(1).hour()),
    ],
)
def test_schedules_differ_when_they_say_something_else(one: Schedule, other: Schedule) -> None:
    assert one != other


def test_calendar_forms_and_periods_of_an_hour_catch_up_unless_told_otherwise() -> None:
    assert [schedule for schedule in SCHEDULES if not schedule.catches_up] == [
        S().every(10).seconds(),
        S().every(25).minutes(),
        S().at_boot(),
    ]
    assert S().every(10).seconds().missed("once").catches_up
    assert not S().cron("@daily").missed("skip").catches_up


def test_only_calendar_forms_need_a_zone() -> None:
    assert {schedule.kind for schedule in SCHEDULES if schedule.needs_zone} == {"DayTime", "Calendar"}
    assert {schedule.kind for schedule in SCHEDULES if not schedule.needs_zone} == {"HMS", "Boot"}


def test_the_default_zone_gives_way_to_the_authors_and_is_not_shown() -> None:
    mine = S().every_day().at("9:00").in_timezone("Africa/Nairobi")
    any_zone = S().every_day().at("9:00").in_zone("Europe/Berlin")

    assert mine.in_zone("Europe/Berlin") == mine
    assert any_zone.policy.timezone == "Europe/Berlin"
    assert str(any_zone) == "days:every,time:9:00"
    assert str(Schedule.from_dict(any_zone.to_dict())) == str(any_zone)


def test_times_are_in_the_schedules_zone_whatever_is_asked() -> None:
    nairobi = S().every_day().at("9:00").in_timezone("Africa/Nairobi")

    assert nairobi.next_times(NOON, 1)[0].isoformat() == "2026-01-02T09:00:00+03:00"
    assert nairobi.last_time(NOON).isoformat() == "2026-01-01T09:00:00+03:00"


def test_a_period_counts_from_the_epoch_plus_its_phase() -> None:
    schedule = S().every(7).seconds()
    epoch = datetime(1970, 1, 1, tzinfo=UTC)

    assert schedule.next_times(epoch, 2) == [epoch + timedelta(seconds=7), epoch + timedelta(seconds=14)]
    assert schedule.next_times(epoch, 1, timedelta(seconds=3)) == [epoch + timedelta(seconds=3)]
    assert schedule.last_time(epoch, timedelta(seconds=3)) == epoch - timedelta(seconds=4)


def test_a_time_that_is_now_is_the_last_and_not_the_next() -> None:
    for schedule in (S().every(10).seconds(), S().every_day().at("12:00"), S().cron("* * * * *")):
        assert schedule.last_time(NOON) == NOON
        assert schedule.next_times(NOON, 1)[0] > NOON
        assert schedule.next_times(NOON - timedelta(microseconds=1), 1) == [NOON]


def test_a_boot_has_no_times() -> None:
    assert S().at_boot().next_times(NOON, 5) == []
    assert S().at_boot().last_time(NOON) is None


def test_a_moment_without_a_zone_is_refused() -> None:
    for schedule in SCHEDULES:
        with pytest.raises(ValueError, match="no timezone"):
            schedule.next_times(NOON.replace(tzinfo=None), 1)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_schedule_comes_back_from_json_as_it_was(schedule: Schedule) -> None:
    refined = (
        schedule.retry(3, 0.5, 1.5)
        .timeout("90s")
        .jitter(2)
        .missed("skip")
        .limit("1G", 20)
        .on_failure("continue")
    )
    for one in (schedule, refined, schedule.in_timezone("Asia/Kathmandu")):
        back = Schedule.from_dict(json.loads(json.dumps(one.to_dict())))

        assert back == one
        assert str(back) == str(one)


@pytest.mark.parametrize(
    "stored",
    [
        None,
        [],
        {},
        {"v": 2},
        {"v": 1},
        {"v": 1, "form": {}, "policy": {}},
        {"v": 1, "form": {"kind": "moon"}, "policy": {}},
        {"v": 1, "form": {"kind": "period", "units": "build", "interval": 5}, "policy": {}},
        {"v": 1, "form": {"kind": "period", "units": ["seconds"], "interval": 5}, "policy": {}},
        {"v": 1, "form": {"kind": "period", "units": "seconds", "interval": 0}, "policy": {}},
        {"v": 1, "form": {"kind": "cron", "expression": "nonsense"}, "policy": {}},
        {
            "v": 1,
            "form": {"kind": "wallclock", "weekdays": [9], "month_days": [], "last_day": 0, "times": []},
            "policy": {},
        },
        {"v": 1, "form": {"kind": "boot"}, "policy": {"tries": "many"}},
        {"v": 1, "form": {"kind": "boot"}, "policy": {"colour": "red"}},
        {"v": 1, "form": {"kind": "boot"}, "policy": {"timezone": 5}},
        {"v": 1, "form": {"kind": "boot"}, "policy": None},
    ],
)
def test_garbage_is_no_stored_schedule(stored: object) -> None:
    with pytest.raises(InvalidSchedule):
        Schedule.from_dict(stored)


def test_phases_are_stable_and_lie_within_the_period() -> None:
    assert phase_of(3600, "ping_google") == phase_of(3600, "ping_google") == timedelta(seconds=1341)
    for period in (1, 7, 9, 10, 60, 86400):
        phases = {phase_of(period, f"task-{n}") for n in range(200)}

        assert all(timedelta(0) <= phase < timedelta(seconds=period) for phase in phases)
        assert len(phases) > min(period, 50) // 2
        assert period < 10 or all(phase.microseconds == 0 for phase in phases)


def test_schedules_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        S().at_boot().policy = Policy()  # type: ignore[misc]


def run_alone(tmp_path: Path, code: str) -> str:
    """The output of `code` in a bare interpreter that has nothing but the parts of a schedule."""
    package = tmp_path / "keiji"
    package.mkdir()
    source = Path(keiji.__file__).parent
    for part in ("__init__", *PARTS):
        shutil.copy(source / f"{part}.py", package)
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); {code}"
    return subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], check=True, capture_output=True, text=True
    ).stdout


def test_the_parts_of_a_schedule_stand_alone(tmp_path: Path) -> None:
    code = (
        "from keiji import Schedule; from datetime import datetime, timezone;"
        "s = Schedule().cron('@daily').in_timezone('UTC').timeout('5s').build();"
        "print(s.next_times(datetime(2026, 1, 1, tzinfo=timezone.utc), 1)[0])"
    )

    assert run_alone(tmp_path, code) == "2026-01-02 00:00:00+00:00\n"


def test_a_period_is_reckoned_without_slow_imports(tmp_path: Path) -> None:
    """The runner does this at firings, and each of these costs as much as the interpreter's own start."""
    code = (
        "from keiji import Schedule; from datetime import datetime, timezone;"
        "Schedule().every(25).minutes().last_time(datetime.now(timezone.utc));"
        "slow = {'dataclasses', 'typing', 're', 'enum', 'inspect', 'collections', 'zoneinfo', 'os'};"
        "print(*slow & {*sys.modules})"
    )

    assert run_alone(tmp_path, code).strip() == ""
