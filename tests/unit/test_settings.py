"""What settings.conf may say."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keiji import settings
from keiji.errors import InvalidSettings
from keiji.folders import Folders
from keiji.settings import Settings


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path, tmp_path / "home")


def _load(folders: Folders, text: str) -> tuple[Settings, list[str]]:
    folders.settings.write_text(text, encoding="utf-8")
    return settings.load(folders)


def _refused(folders: Folders, text: str) -> str:
    with pytest.raises(InvalidSettings) as caught:
        _load(folders, text)
    return caught.value.message


def test_without_a_file_everything_has_its_default(folders, monkeypatch):
    monkeypatch.setenv("TZ", "Africa/Nairobi")

    assert settings.load(folders) == (Settings(folders, "default", "Africa/Nairobi", True, 1048576), [])


def test_the_text_that_init_writes_says_the_defaults(folders):
    read, warnings = _load(folders, settings.default_text("Asia/Tokyo"))

    assert (read, warnings) == (Settings(folders, time_zone="Asia/Tokyo"), [])


def test_every_key_that_init_writes_has_a_comment_above_it():
    lines = settings.default_text("UTC").splitlines()

    keys = [i for i, line in enumerate(lines) if "=" in line and not line.startswith("#")]
    assert [lines[i].partition("=")[0] for i in keys] == list(settings._KEYS)
    assert all(lines[i - 1].startswith("#") for i in keys)


def test_values_are_read(folders):
    text = "DB_URL=postgres://u:p@h/d\nTIME_ZONE=Asia/Tokyo\nROTATE_LOGS=0\nLOG_MAX_SIZE=0\n"
    text += "HISTORY_DAYS=0\nHISTORY_RUNS=7\n"

    assert _load(folders, text) == (Settings(folders, "postgres://u:p@h/d", "Asia/Tokyo", False, 0, 0, 7), [])


@pytest.mark.parametrize(
    "text",
    [
        "  ROTATE_LOGS = 0  ",
        "ROTATE_LOGS='0'",
        'ROTATE_LOGS="0" # no rotation',
        "# a comment\n\n\t# another\nROTATE_LOGS=0",
        "TIME_ZONE=UTC\r\nROTATE_LOGS=0\r\n",
        "TIME_ZONE=UTC\rROTATE_LOGS=0\r",
        "\ufeffROTATE_LOGS=0",
    ],
)
def test_spaces_quotes_comments_and_foreign_line_ends_change_nothing(folders, text):
    read, warnings = _load(folders, text)

    assert (read.rotate_logs, warnings) == (False, [])


def test_a_hash_inside_a_value_begins_no_comment(folders):
    assert _load(folders, "DB_URL=postgresql://h/d#1")[0].db_url == "postgresql://h/d#1"


@pytest.mark.parametrize(
    ("line", "allowed"),
    [
        ("DB_URL=sqlite", "`default`"),
        ("DB_URL=mysql://u:p@h/d", "postgresql://"),
        ("DB_URL=postgresql://u:p@h:port/d", "postgresql://"),
        ("TIME_ZONE=Mars/Olympus", "IANA"),
        ("TIME_ZONE=", "IANA"),
        ("TIME_ZONE=../../etc/passwd", "IANA"),
        ("TIME_ZONE=/etc/localtime", "IANA"),
        ("TIME_ZONE=Europe", "IANA"),
        ("TIME_ZONE=localtime", "IANA"),
        ("TIME_ZONE=right/Europe/Paris", "IANA"),
        ("ROTATE_LOGS=yes", "0 or 1"),
        ("ROTATE_LOGS=", "0 or 1"),
        ("LOG_MAX_SIZE=-1", "0 or more"),
        ("LOG_MAX_SIZE=1e6", "0 or more"),
        ("LOG_MAX_SIZE=1_000", "0 or more"),
        ("LOG_MAX_SIZE=٣", "0 or more"),
        ("LOG_MAX_SIZE=9223372036854775808", "0 or more"),
        ("LOG_MAX_SIZE=", "0 or more"),
        ("HISTORY_DAYS=1y", "days"),
        ("HISTORY_DAYS=36501", "up to 36500, or 0 for no limit"),
        ("HISTORY_RUNS=-1", "0 for no limit"),
        ("HISTORY_RUNS=9223372036854775808", "0 for no limit"),
        ('TIME_ZONE="UTC', "IANA"),
        ("TIME_ZONE=" + "A" * 1000, "IANA"),
    ],
)
def test_a_wrong_value_is_refused_with_file_line_key_and_what_is_allowed(folders, line, allowed):
    message = _refused(folders, f"# first\n{line}\n")

    key = line.partition("=")[0]
    assert message.startswith(f"{folders.settings}, line 2: {key} must be ")
    assert allowed in message
    assert "\n" not in message


def test_a_misspelt_zone_is_answered_with_the_nearest_one(folders):
    assert "did you mean Africa/Nairobi?" in _refused(folders, "TIME_ZONE=africa/nairobi")


@pytest.mark.parametrize("line", ["ROTATE_LOGS", "postgresql://u:hunter2@h/d?sslmode=on", "=1"])
def test_a_line_that_is_no_setting_is_refused_and_not_repeated(folders, line):
    message = _refused(folders, f"TIME_ZONE=UTC\n{line}\n")

    assert f"{folders.settings}, line 2: a setting is KEY=VALUE" in message
    assert "hunter2" not in message


@pytest.mark.parametrize(("key", "meant"), [("ROTATE_LOG", "ROTATE_LOGS"), ("time_zone", "TIME_ZONE")])
def test_an_unknown_key_is_a_warning_that_names_the_nearest_one(folders, key, meant):
    read, warnings = _load(folders, f"TIME_ZONE=UTC\n{key}=0\n")

    assert read == Settings(folders)
    assert warnings == [f"{folders.settings}, line 2: unknown key {key!r} is ignored; did you mean {meant}?"]


def test_an_unknown_key_that_resembles_none_is_answered_with_all_of_them(folders):
    assert _load(folders, "COLOUR=0")[1][0].endswith("known are " + ", ".join(settings._KEYS))


def test_a_key_that_is_set_twice_is_a_warning_and_the_later_line_counts(folders):
    read, warnings = _load(folders, "LOG_MAX_SIZE=1\nLOG_MAX_SIZE=2\n")

    assert read.log_max_size == 2
    assert warnings == [f"{folders.settings}, line 2: LOG_MAX_SIZE was set above; this line counts"]


@given(
    password=st.from_regex(r"[A-Z0-9]{12}", fullmatch=True),
    form=st.sampled_from(
        [
            *("postgresql://u:{}@h:nan/d", "mysql://u:{}@h/d", "u:{}@h", "Postgresql://u:{}@h/d"),
            *("postgresql://h/d?password={}", "postgresql://u:{}@[h/d", "'postgresql://u:{}@h/d"),
        ]
    ),
    key=st.sampled_from(["DB_URL", "DBURL", "db_url", "TIME_ZONE", "LOG_MAX_SIZE", "ROTATE_LOGS"]),
)
def test_a_password_is_never_shown(tmp_path_factory, password, form, key):
    folder = tmp_path_factory.mktemp("settings")
    folders = Folders(folder, folder)
    try:
        said = repr(_load(folders, f"{key}={form.format(password)}"))
    except InvalidSettings as error:
        said = error.message

    assert password not in said


def test_the_value_itself_does_not_print_the_url(folders):
    assert "secret" not in repr(Settings(folders, db_url="postgresql://u:secret@h/d"))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.write_bytes(b"TIME_ZONE=\xff"), "save it as UTF-8"),
        (lambda path: path.write_text("TIME_ZONE=UTC\n", encoding="utf-16"), "save it as UTF-8"),
        (lambda path: path.write_text("TIME_ZONE=UTC\n", encoding="utf-16-le"), "save it as UTF-8"),
        (lambda path: path.mkdir(), "is no file"),
        (os.mkfifo, "is no file"),
        (lambda path: path.symlink_to("gone.conf"), "is a link to gone.conf, which is gone"),
        (lambda path: path.symlink_to(path.name), "cannot be read"),
        (lambda path: path.write_text("UNKNOWN=1\n" * 1_000_000), "larger than 1 MiB"),
    ],
)
def test_a_file_that_holds_no_settings_is_refused_by_its_name(folders, make, said):
    make(folders.settings)

    with pytest.raises(InvalidSettings, match=re.escape(str(folders.settings))) as caught:
        settings.load(folders)
    assert said in caught.value.message
    assert "\n" not in caught.value.message


def test_a_file_that_may_not_be_read_is_refused_by_its_name(folders, monkeypatch):
    folders.settings.touch()
    monkeypatch.setattr(Path, "read_text", _raising(PermissionError(13, "Permission denied")))

    with pytest.raises(
        InvalidSettings, match="cannot be read \\(Permission denied\\): check its owner and mode"
    ):
        settings.load(folders)


def _raising(problem):
    def work(*_, **__):
        raise problem

    return work


def test_a_link_to_a_file_is_read(folders):
    (folders.workspace / "elsewhere.conf").write_text("ROTATE_LOGS=0\n")
    folders.settings.symlink_to("elsewhere.conf")

    assert not settings.load(folders)[0].rotate_logs


def test_the_zone_is_one_that_tells_the_time(folders):
    assert str(Settings(folders, time_zone="Africa/Nairobi").zone) == "Africa/Nairobi"


@pytest.mark.parametrize(
    ("tz", "link", "file", "zone"),
    [
        ("Africa/Nairobi", "/usr/share/zoneinfo/Asia/Tokyo", "Europe/Paris", "Africa/Nairobi"),
        (":Africa/Nairobi", None, None, "Africa/Nairobi"),
        (":/usr/share/zoneinfo/Africa/Nairobi", None, None, "Africa/Nairobi"),
        ("UTC-3", "/usr/share/zoneinfo/Asia/Tokyo", "Europe/Paris", "Asia/Tokyo"),
        ("", "../usr/share/zoneinfo/Asia/Tokyo", None, "Asia/Tokyo"),
        ("", "/var/db/timezone/zoneinfo/Asia/Tokyo", None, "Asia/Tokyo"),
        ("", "/somewhere/else", "Europe/Paris\n", "Europe/Paris"),
        ("", None, "Europe/Paris", "Europe/Paris"),
        ("", None, "nonsense", "UTC"),
        ("", None, None, "UTC"),
    ],
)
def test_the_machines_zone_is_found(tmp_path, tz, link, file, zone):
    if link:
        (tmp_path / "localtime").symlink_to(link)
    if file:
        (tmp_path / "timezone").write_text(file)

    assert settings.machine_zone({"TZ": tz} if tz else {}, etc=tmp_path) == zone
