"""The text of unit files, held in ``golden/``; and no text from people gets a line of its own into one.

After a change that is meant, ``KEIJI_REWRITE_GOLDEN=1 pytest tests/unit/test_units.py`` writes the golden
files anew; what `git diff` then shows is what every user's units will change to.
"""

from __future__ import annotations

import os
import re
import site
import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import keiji
from keiji.folders import Folders
from keiji.runner_start import START
from keiji.schedule import Schedule
from keiji.systemd import calendar, units
from keiji.task import Task

GOLDEN = Path(__file__).parent / "golden"
REWRITING = bool(os.environ.get("KEIJI_REWRITE_GOLDEN"))
NOON = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)

HOME = Folders(Path("/home/ada/keiji"), Path("/home/ada/.keiji"))
ODD_HOME = Folders(Path("/home/ada b/50% keiji"), Path('/home/ada b/50% $HOME "x" \\n/.keiji'))
ODD_TEXT = "100% of $HOME, \"quoted\" and 'quoted'; \\\nExecStart=/bin/false — 計時 \\"

# The zone is the one that the settings name, as `in_zone` fills it in.
SCHEDULES = {
    "every 7 seconds": Schedule().run().every(7).seconds(),
    "every 10 seconds": Schedule().run().every(10).seconds(),
    "every 6 hours": Schedule().run().every(6).hours(),
    "every 6 hours skip": Schedule().run().every(6).hours().missed("skip"),
    "every 36 hours": Schedule().run().every(36).hours(),
    "sunday in Berlin": Schedule().on().sunday().at("2:30AM").in_timezone("Europe/Berlin"),
    "last day in default zone": Schedule().on().last_day().at("22:00"),
    "weekdays skip in default zone": Schedule().on().weekdays().at("09:00", "17:30").missed("skip"),
    "cron with or": Schedule().cron("30 4 1,15 * fri").in_timezone("UTC"),
    "cron elapsed": Schedule().cron("*/15 9-17 * * mon-fri").in_timezone("Africa/Nairobi"),
    "at boot": Schedule().at_boot(),
    "refined": Schedule()
    .run()
    .every(1)
    .hours()
    .retry(tries=3, delay=5, backoff=2)
    .timeout("30s")
    .jitter("1m")
    .limit(memory="512M", cpu="50%")
    .on_failure("continue"),
}

OWN_KEYS = {
    "Unit": {
        *("Description", "PartOf", "StartLimitIntervalSec", "DefaultDependencies", "Conflicts", "Before"),
        *("ConditionDirectoryNotEmpty", "ConditionPathExists", "OnSuccess", "OnFailure", "After"),
    },
    "Service": {
        *("Type", "BusName", "Environment", "WorkingDirectory", "ExecStart", "SyslogIdentifier"),
        *("TimeoutStartSec", "KillMode", "TimeoutStopSec"),
    },
    "D-BUS Service": {"Name", "Exec", "SystemdService"},
    "Timer": {"OnCalendar", "RandomizedDelaySec", "Persistent", "AccuracySec"},
    "Install": {"WantedBy"},
}


@pytest.fixture(autouse=True, scope="module")
def _at_noon() -> object:
    """The zones' changes are looked ahead from a fixed day."""
    plan = calendar.plan
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calendar, "plan", lambda schedule, slug, now: plan(schedule, slug, NOON))
        yield


def rendered(
    name: str, schedule: Schedule, description: str = "a task", folders: Folders = HOME
) -> dict[str, str]:
    task = Task(name, description, schedule.in_zone("Europe/Berlin"), "a1b2", "host", "an-id")
    return units.render_task(folders, task, command(task.slug, folders))


def command(slug: str, folders: Folders = HOME) -> list[str]:
    return ["/usr/bin/python3.11", "-I", "-S", "-u", str(folders.current(slug) / START)]


def own_units(folders: Folders) -> dict[str, str]:
    """keiji's own units, and what D-Bus starts the bus service by."""
    unit, activation = units.render_bus(folders)
    bus = {"io.keiji.Bus1.service": unit, "io.keiji.Bus1.activation": activation}
    bus["io.keiji.Bus1.loopback.service"] = units.render_loopback_bus(folders)
    shipped = {"io.keiji.Bus1.shipped.service": units.render_shipped_bus()[0]}
    drop_in = {"io.keiji.Bus1.conf": units.render_bus_drop_in(folders)}
    return {**units.render_own(folders), **bus, **shipped, **drop_in}


def lines(text: str) -> list[str]:
    """The lines as systemd parts them."""
    return re.split(r"\r\n|[\n\r\0]", text)


def parsed(text: str) -> list[tuple[str, str, str]]:
    """Section, key and value of each setting; systemd.syntax(7) without lines that go on."""
    section, found = "", []
    for line in lines(text):
        assert not line.endswith("\\")
        if not line.strip() or line.lstrip()[0] in "#;":
            continue
        heading = re.fullmatch(r"\[([A-Za-z -]+)\]", line)
        if heading:
            section = heading[1]
            continue
        key, equals, value = line.partition("=")
        assert equals
        found.append((section, key, value))
    return found


def keys(text: str) -> list[tuple[str, str]]:
    return [(section, key) for section, key, _ in parsed(text)]


def words(line: str) -> list[str]:
    """The words of a command line, as systemd.service(5) reads them."""
    found = re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', line)
    unquoted = (
        re.sub(r"\\(.)", r"\1", quoted, flags=re.DOTALL) if quoted else plain for quoted, plain in found
    )
    return [word.replace("$$", "$").replace("%%", "%") for word in unquoted]


def agree(files: dict[str, str]) -> None:
    """Each file is as its golden one says."""
    files = {name: re.sub(r"by tzdata \S+\.\n", "by tzdata VERSION.\n", text) for name, text in files.items()}
    if REWRITING:
        for name, text in files.items():
            (GOLDEN / name).write_text(text, encoding="utf-8")
        pytest.skip("golden files written anew")
    assert files == {name: (GOLDEN / name).read_text(encoding="utf-8") for name in files}


# the golden files


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_units_of_a_schedule_are_as_agreed(name: str) -> None:
    agree(rendered(name, SCHEDULES[name]))


def test_odd_text_and_odd_folders_are_written_as_agreed() -> None:
    agree(rendered("Odd_text", SCHEDULES["every 10 seconds"], ODD_TEXT, ODD_HOME))


def test_keiji_s_own_units_are_as_agreed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")

    agree(own_units(HOME))


def test_no_golden_file_is_left_over() -> None:
    odd = rendered("Odd_text", SCHEDULES["every 10 seconds"])
    own = own_units(HOME)
    tasks = [file for name, schedule in SCHEDULES.items() for file in rendered(name, schedule)]

    assert sorted(path.name for path in GOLDEN.iterdir()) == sorted([*tasks, *odd, *own])


# what the golden files must never lose


def units_of(name: str) -> tuple[str, str]:
    service, timer = rendered(name, SCHEDULES[name]).values()
    return service, timer


@pytest.mark.parametrize("name", SCHEDULES)
def test_service_and_timer_both_look_at_the_latch(name: str) -> None:
    slug = name.lower().replace(" ", "-")
    looks = ("Unit", "ConditionPathExists", f"!/home/ada/.keiji/run/held/{slug}")

    assert all(looks in parsed(text) for text in units_of(name))


@pytest.mark.parametrize("name", SCHEDULES)
def test_nothing_is_throttled_and_nothing_is_late_by_systemd_s_defaults(name: str) -> None:
    service, timer = units_of(name)

    assert ("Unit", "StartLimitIntervalSec", "0") in parsed(service)
    assert {("Unit", "StartLimitIntervalSec", "0"), ("Timer", "AccuracySec", "1us")} <= {*parsed(timer)}


def test_a_guard_goes_by_the_zone_that_the_units_were_rendered_for() -> None:
    """The settings' zone may have changed since the build."""
    service, _ = units_of("weekdays skip in default zone")

    assert re.search(r"^ExecStart=.* --zone Europe/Berlin$", service, re.MULTILINE)


def test_a_zone_that_the_author_named_is_not_said_again() -> None:
    service, _ = units_of("sunday in Berlin")

    assert "--extras" in service
    assert "--zone" not in service


def test_what_a_package_ships_for_everybody_names_nobody_s_folders() -> None:
    unit, activation = units.render_shipped_bus()

    assert [value for _, key, value in parsed(unit) if key in ("Environment", "WorkingDirectory")] == []
    assert activation == units.render_bus(HOME)[1]


# text from people

TEXT = st.text(max_size=60)
NAME = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9 _-]{0,63}", fullmatch=True)
FOLDER = st.text(
    st.characters(blacklist_characters="/\n\r\0", blacklist_categories=("Cs",)), min_size=1, max_size=30
).filter(lambda name: name not in (".", ".."))
SCHEDULE = st.sampled_from([*SCHEDULES.values()])
FEW = settings(max_examples=60, deadline=None)


@FEW
@given(NAME, TEXT, FOLDER, SCHEDULE)
def test_no_text_from_people_gets_a_line_of_its_own(
    name: str, description: str, folder: str, schedule: Schedule
) -> None:
    folders = Folders(Path("/w"), Path("/", folder, ".keiji"))

    odd = [keys(text) for text in rendered(name, schedule, description, folders).values()]

    assert odd == [keys(text) for text in rendered("plain", schedule).values()]


@FEW
@given(NAME, TEXT, FOLDER)
def test_systemd_reads_each_word_of_the_command_as_it_was(name: str, description: str, folder: str) -> None:
    folders = Folders(Path("/w"), Path("/", folder, ".keiji"))
    slug = name.lower().replace(" ", "-")

    service, _ = rendered(name, SCHEDULES["every 10 seconds"], description, folders).values()

    (line,) = [value for _, key, value in parsed(service) if key == "ExecStart"]
    assert words(line) == command(slug, folders)


@FEW
@given(NAME, TEXT)
def test_text_from_people_holds_no_specifier(name: str, description: str) -> None:
    for text in rendered(name, SCHEDULES["refined"], description).values():
        said = {key: value for _, key, value in parsed(text)}

        assert "%" not in said["Description"].replace("%%", "")


@FEW
@given(FOLDER)
def test_keiji_s_own_units_hold_their_own_settings_only(folder: str) -> None:
    for text in own_units(Folders(Path("/", folder), Path("/", folder, ".keiji"))).values():
        assert all(key in OWN_KEYS[section] for section, key in keys(text))


@pytest.mark.parametrize("end", ["\n", "\r", "\0"])
def test_a_folder_whose_name_breaks_the_line_is_refused(end: str) -> None:
    with pytest.raises(ValueError, match="line break"):
        rendered("ping", SCHEDULES["at boot"], folders=Folders(Path("/w"), Path(f"/a{end}b")))


def test_where_no_journal_can_be_read_no_unit_s_output_goes_there(tmp_path: Path) -> None:
    """What leads nowhere the runner and the services write to files."""
    folders = Folders(tmp_path / "keiji", tmp_path / ".keiji")
    folders.run.mkdir(parents=True)
    folders.filed.touch()
    texts = {
        **own_units(folders),
        **rendered("ping", Schedule().run().every(1).hours().build(), folders=folders),
    }

    services = {name: text for name, text in texts.items() if "[Service]" in lines(text)}

    silent = {
        name for name, text in services.items() if ("Service", "StandardOutput", "null") in parsed(text)
    }
    assert silent == {*services} - {"io.keiji.Bus1.shipped.service"}


@pytest.mark.parametrize(("where", "option"), [("/home/ada/.local/x", "-E"), ("/usr/lib/python3/x", "-I")])
def test_own_services_find_keiji_where_the_person_has_put_it_and_are_told_of_no_other_place(
    monkeypatch: pytest.MonkeyPatch, where: str, option: str
) -> None:
    monkeypatch.setattr(site, "getusersitepackages", lambda: "/home/ada/.local/x")
    monkeypatch.setattr(keiji, "__file__", f"{where}/keiji/__init__.py")

    assert units.python() == [sys.executable, option]
