"""The text of agents, held in ``golden_launchd/``; launchd reads it as meant, and it holds no other keys.

After a change that is meant, ``KEIJI_REWRITE_GOLDEN=1 pytest tests/unit/test_plists.py`` writes the golden
files anew; what `git diff` then shows is what every user's agents will change to.
"""

from __future__ import annotations

import plistlib
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_units import FEW, FOLDER, HOME, NAME, NOON, ODD_HOME, ODD_TEXT, REWRITING, SCHEDULES, TEXT, command

from keiji.errors import HostFailed, UnsupportedHere
from keiji.folders import Folders
from keiji.launchd import calendar, images, names, plists
from keiji.schedule import Schedule
from keiji.task import Task

GOLDEN = Path(__file__).parent / "golden_launchd"
MORE = {
    **SCHEDULES,
    "every 90 seconds": Schedule().run().every(90).seconds(),
    "every 7 minutes": Schedule().run().every(7).minutes(),
    "cron of office hours": Schedule().cron("*/5 9-17 * * 1-5").in_timezone("Europe/Berlin"),
    "cron of a month and a weekday": Schedule().cron("0 6 * 3 mon").in_timezone("Europe/Berlin"),
    "first of month in Tokyo": Schedule().on().month_day(1).at("01:30").in_timezone("Asia/Tokyo"),
}
REFUSED = ("refined",)
KEYS: dict[str, type] = {
    "Label": str,
    "ProgramArguments": list,
    "WorkingDirectory": str,
    "EnvironmentVariables": dict,
    "StandardOutPath": str,
    "StandardErrorPath": str,
    "ExitTimeOut": int,
    "LimitLoadToSessionType": list,
    "Umask": int,
    "StartCalendarInterval": list,
    "RunAtLoad": bool,
    "KeepAlive": dict,
    "ThrottleInterval": int,
    "Sockets": dict,
}
RANGES = {"Month": (1, 12), "Day": (1, 31), "Weekday": (0, 6), "Hour": (0, 23), "Minute": (0, 59)}
SOCKET = {"SockNodeName": "127.0.0.1", "SockServiceName": "50505", "SockFamily": "IPv4", "SockType": "stream"}


@pytest.fixture(autouse=True)
def _at_ada_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.delenv("KEIJI_HOST", raising=False)
    monkeypatch.setattr(sys, "executable", "/opt/keiji/bin/python")


def rendered(
    name: str,
    schedule: Schedule,
    description: str = "a task",
    folders: Folders = HOME,
    machine: str = "Europe/Berlin",
) -> dict[str, str]:
    task = Task(name, description, schedule.in_zone("Europe/Berlin"), "a1b2", "host", "an-id")
    return plists.render_task(task, command(task.slug, folders), NOON, machine)


def own(folders: Folders = HOME) -> dict[str, str]:
    (text,) = rendered("asked for", SCHEDULES["every 10 seconds"], folders=folders).values()
    once = plists.once_of(text, names.once("asked-for"))
    bus = plists.render_bus(folders, 50505)
    return {**plists.render_own(folders), "io.keiji.bus.plist": bus, "io.keiji.once.asked-for.plist": once}


def read(text: str) -> dict[str, Any]:
    found: dict[str, Any] = plistlib.loads(text.encode())
    return found


def agree(files: dict[str, str]) -> None:
    if REWRITING:
        GOLDEN.mkdir(exist_ok=True)
        for name, text in files.items():
            (GOLDEN / name).write_text(text, encoding="utf-8")
        pytest.skip("golden files written anew")
    assert files == {name: (GOLDEN / name).read_text(encoding="utf-8") for name in files}


def must_be_allowed(text: str) -> None:
    """The keys, types and ranges that keiji may write, and no others."""
    found = read(text)
    assert set(found) <= set(KEYS)
    assert all(type(value) is KEYS[key] for key, value in found.items())
    assert all(type(word) is str for word in found["ProgramArguments"])
    assert all(type(value) is str for value in found["EnvironmentVariables"].values())
    assert found["ProgramArguments"][0].startswith("/")
    assert found.get("KeepAlive", {"SuccessfulExit": False}) == {"SuccessfulExit": False}
    assert found.get("Sockets", {"Bus": SOCKET}) == {"Bus": SOCKET}
    entries = found.get("StartCalendarInterval", [{"Minute": 0}])
    assert 0 < len(entries) <= images.LIMIT
    for entry in entries:
        assert "Minute" in entry
        assert not {"Day", "Weekday"} <= set(entry)
        assert all(
            type(value) is int and RANGES[key][0] <= value <= RANGES[key][1] for key, value in entry.items()
        )


# the golden files


@pytest.mark.parametrize("name", MORE)
def test_the_agent_of_a_schedule_is_as_agreed(name: str) -> None:
    agree(rendered(name, MORE[name]))


def test_odd_text_and_odd_folders_are_written_as_agreed() -> None:
    agree(rendered("Odd_text", SCHEDULES["every 10 seconds"], ODD_TEXT, ODD_HOME))


def test_a_zone_that_is_not_the_machine_s_is_written_as_agreed() -> None:
    files = rendered(
        "sunday in Berlin on Lord Howe", SCHEDULES["sunday in Berlin"], machine="Australia/Lord_Howe"
    )

    agree(files)


def test_keiji_s_own_agents_are_as_agreed() -> None:
    agree(own())


def test_no_golden_file_is_left_over() -> None:
    tasks = [file for name, schedule in MORE.items() for file in rendered(name, schedule)]
    odd = ["io.keiji.task.odd_text.plist", "io.keiji.task.sunday-in-berlin-on-lord-howe.plist"]

    assert sorted(path.name for path in GOLDEN.iterdir()) == sorted([*tasks, *odd, *own()])


# what they must hold


@pytest.mark.parametrize("name", MORE)
@pytest.mark.parametrize("machine", ["Europe/Berlin", "Asia/Kathmandu", "America/St_Johns"])
def test_an_agent_holds_what_keiji_may_write_and_nothing_else(name: str, machine: str) -> None:
    for file, text in rendered(name, MORE[name], machine=machine).items():
        must_be_allowed(text)
        assert file == f"{read(text)['Label']}.plist"


def test_keiji_s_own_agents_hold_what_keiji_may_write_and_nothing_else() -> None:
    for text in own().values():
        must_be_allowed(text)


def entries_of(schedule: Schedule, machine: str = "Europe/Berlin") -> list[dict[str, int]]:
    (text,) = rendered("ping", schedule, machine=machine).values()
    found: list[dict[str, int]] = read(text)["StartCalendarInterval"]
    return found


def test_a_time_of_a_weekday_is_that_and_no_more() -> None:
    assert entries_of(Schedule().on().monday().at("09:30")) == [{"Weekday": 1, "Hour": 9, "Minute": 30}]
    assert entries_of(Schedule().on().sunday().at("12:00AM")) == [{"Weekday": 0, "Hour": 0, "Minute": 0}]


def test_a_time_that_clocks_jump_past_has_launchd_look_when_they_have_jumped() -> None:
    assert entries_of(Schedule().on().every_day().at("02:30")) == [
        {"Hour": 3, "Minute": 0},
        {"Hour": 2, "Minute": 30},
    ]


def test_cron_s_or_is_two_kinds_of_entries() -> None:
    assert entries_of(Schedule().cron("30 4 15 * fri")) == [
        {"Day": 15, "Hour": 4, "Minute": 30},
        {"Weekday": 5, "Hour": 4, "Minute": 30},
    ]


def test_an_array_that_grows_too_long_is_replaced_by_one_that_says_less() -> None:
    found = entries_of(MORE["cron of office hours"])

    assert len(found) == 108
    assert {"Hour": 9, "Minute": 5} in found


def test_short_periods_and_odd_ones_are_kept_by_a_resident_runner() -> None:
    for seconds in (1, 9, 10, 59, 90, 3601):
        (text,) = rendered("ping", Schedule().run().every(seconds).seconds()).values()
        found = read(text)

        assert found["KeepAlive"] == {"SuccessfulExit": False}
        assert "StartCalendarInterval" not in found


def test_no_period_is_left_to_launchd_which_counts_from_the_end_of_a_run() -> None:
    assert not any("StartInterval<" in text for text in own().values())
    assert not any("StartInterval<" in text for name in MORE for text in rendered(name, MORE[name]).values())


# refusals


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        (Schedule().at_boot().limit(cpu="50%"), r"limit\(cpu='50%'\).*macOS"),
        (Schedule().on().every_day().at("09:00", "09:01").jitter("2m"), r"jitter\('2m'\).*macOS"),
    ],
)
def test_what_neither_launchd_nor_the_runner_can_do_is_refused_by_name(schedule: Schedule, said: str) -> None:
    with pytest.raises(UnsupportedHere, match=said):
        calendar.check(schedule)


@pytest.mark.parametrize("name", [name for name in MORE if name not in REFUSED])
def test_every_other_form_is_taken(name: str) -> None:
    calendar.check(MORE[name])


# text from people


@FEW
@given(NAME, TEXT, FOLDER, st.sampled_from([*MORE.values()]))
def test_launchd_reads_every_text_as_it_was(
    name: str, description: str, folder: str, schedule: Schedule
) -> None:
    folders = Folders(Path("/w"), Path("/", folder, ".keiji"))
    task = Task(name, description, schedule.in_zone("Europe/Berlin"), "a1b2", "host", "an-id")
    words = command(task.slug, folders)
    if not folder.isprintable() and any(unicodedata.category(c) in ("Cc", "Cn") for c in folder):
        return  # see the next test

    (text,) = plists.render_task(task, words, NOON, "UTC").values()

    must_be_allowed(text)
    assert read(text)["ProgramArguments"][: len(words)] == words


@pytest.mark.parametrize("end", ["\n", "\r", "\0", "\x1b"])
def test_a_folder_that_a_plist_cannot_hold_is_refused(end: str) -> None:
    with pytest.raises(ValueError, match="control character"):
        rendered("ping", SCHEDULES["at boot"], folders=Folders(Path("/w"), Path(f"/a{end}b")))


def test_a_plist_that_would_be_read_otherwise_reaches_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as one of a template in which an integer has become a string."""
    render = plists.rendering.render

    def wrong(*arguments: Any, **values: Any) -> str:
        return render(*arguments, **values).replace("<integer>20</integer>", "<string>20</string>")

    monkeypatch.setattr(plists.rendering, "render", wrong)

    with pytest.raises(HostFailed, match="would not be read"):
        rendered("ping", SCHEDULES["at boot"])


@pytest.mark.parametrize(
    "label", ["", "/", "com.apple.Finder", "io.keiji.", "io.keiji.task.a/b", "io.keiji.task.\n"]
)
def test_a_label_that_is_not_keiji_s_is_refused(label: str) -> None:
    with pytest.raises(ValueError, match="no label"):
        names.checked(label)


# images of days on another clock


@settings(max_examples=100, deadline=None)
@given(st.sets(st.integers(1, 31), min_size=1), st.sampled_from([-1, 1]))
def test_days_of_a_month_keep_all_of_theirs_on_a_clock_a_day_away(days: set[int], shift: int) -> None:
    from datetime import date, timedelta

    image = images._shifted(images.Days(month_days=tuple(sorted(days))), shift).month_days
    year = [date(2027, 1, 1) + timedelta(days=n) for n in range(1500)]

    assert image is not None
    assert all((day + timedelta(days=shift)).day in image for day in year if day.day in days)
