"""Settings: what settings.conf says, checked, as a frozen value.

Every command reads this, so only cheap modules are imported at the top.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from keiji.errors import InvalidSettings
from keiji.folders import Folders

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

DEFAULT_URL = "default"
DEFAULT_LOG_MAX_SIZE = 1_048_576
DEFAULT_HISTORY_DAYS = 365
DEFAULT_HISTORY_RUNS = 10_000
_LARGEST = 2**63 - 1
_MOST_DAYS = 36_500
_LARGEST_FILE = 1 << 20  # bytes
_SCHEMES = ("postgresql://", "postgres://")

_TEXT = """\
# keiji's settings: KEY=VALUE, one a line. Every command reads them anew.

# Where tasks and runs are recorded: `default` (SQLite, in keiji's system folder) or a
# postgresql://user:password@host/database URL.
DB_URL=default

# The zone of schedules that name none: an IANA name such as Africa/Nairobi.
TIME_ZONE={time_zone}

# Where logs are files (no journal): 1: five old ones are kept beside each (.1 is the youngest); 0: it grows.
ROTATE_LOGS=1

# How large such a file may become, in bytes; 0: without limit.
LOG_MAX_SIZE={log_max_size}

# How many days runs stay in the history; 0: for ever. A task's newest run always stays.
HISTORY_DAYS={history_days}

# How many runs of each task stay in the history; 0: all.
HISTORY_RUNS={history_runs}
"""


@dataclass(frozen=True)
class Settings:
    """What settings.conf says. `db_url` may hold a password, so it is never printed."""

    folders: Folders
    db_url: str = field(default=DEFAULT_URL, repr=False)
    time_zone: str = "UTC"
    rotate_logs: bool = True
    log_max_size: int = DEFAULT_LOG_MAX_SIZE
    history_days: int = DEFAULT_HISTORY_DAYS
    history_runs: int = DEFAULT_HISTORY_RUNS

    @property
    def zone(self) -> ZoneInfo:
        from zoneinfo import ZoneInfo

        return ZoneInfo(self.time_zone)

    @property
    def uses_sqlite(self) -> bool:
        return self.db_url == DEFAULT_URL


def default_text(time_zone: str) -> str:
    """A settings.conf that says the defaults, each key with a comment."""
    return _TEXT.format(
        time_zone=time_zone,
        log_max_size=DEFAULT_LOG_MAX_SIZE,
        history_days=DEFAULT_HISTORY_DAYS,
        history_runs=DEFAULT_HISTORY_RUNS,
    )


def load(folders: Folders) -> tuple[Settings, list[str]]:
    """The settings, and warnings for people; raises `InvalidSettings` with file, line and key.

    What the file does not say, or all when there is no file, has its default.
    """
    path = folders.settings
    warnings: list[str] = []
    said: dict[str, object] = {}
    for number, line in enumerate(_lines(path), start=1):
        where = f"{path}, line {number}"
        found = _split(line, where)
        if found is None:
            continue
        key, value = found
        if key not in _KEYS:
            warnings.append(f"{where}: unknown key {key!r} is ignored{_meant(key)}")
            continue
        name, parse = _KEYS[key]
        if name in said:
            warnings.append(f"{where}: {key} was set above; this line counts")
        try:
            said[name] = parse(value)
        except ValueError as error:
            raise InvalidSettings(f"{where}: {key} {error}") from None
    if "time_zone" not in said:
        said["time_zone"] = machine_zone()
    return replace(Settings(folders), **said), warnings  # type: ignore[arg-type]


def machine_zone(environ: Mapping[str, str] | None = None, etc: Path = Path("/etc")) -> str:
    """The IANA name of this machine's zone, or ``UTC`` when it cannot be told.

    The link ``/etc/localtime`` comes before ``/etc/timezone``: where they differ, the system's clock
    goes by the link (timedatectl no longer writes the file).
    """
    environ = os.environ if environ is None else environ
    candidates = [_after_zoneinfo(environ.get("TZ", "").removeprefix(":"))]
    try:
        candidates.append(_after_zoneinfo(str((etc / "localtime").readlink())))
    except OSError:
        pass
    try:
        candidates.append((etc / "timezone").read_text(encoding="utf-8").strip())
    except (OSError, UnicodeDecodeError):
        pass
    return next((name for name in candidates if _is_zone(name)), "UTC")


def _lines(path: Path) -> list[str]:
    try:
        text = _text(path)
    except FileNotFoundError:
        if path.is_symlink():  # the defaults would be another database
            raise InvalidSettings(f"{path} is a link to {path.readlink()}, which is gone") from None
        return []
    except UnicodeDecodeError:
        raise InvalidSettings(f"{path} is not UTF-8 text: save it as UTF-8") from None
    except OSError as error:
        raise InvalidSettings(f"{path} cannot be read ({error.strerror}): check its owner and mode") from None
    if "\0" in text:
        raise InvalidSettings(f"{path} is not UTF-8 text: save it as UTF-8")
    return text.split("\n")


def _text(path: Path) -> str:
    if not path.is_file() and path.exists():  # to read a pipe would wait for ever
        raise InvalidSettings(f"{path} is no file: put a file of KEY=VALUE lines in its place")
    if path.stat().st_size > _LARGEST_FILE:
        raise InvalidSettings(f"{path} is larger than 1 MiB, which no settings are: look what it holds")
    return path.read_text(encoding="utf-8-sig")


def _split(line: str, where: str) -> tuple[str, str] | None:
    """Key and value of a line, or None for a line that says nothing."""
    text = re.sub(r"(^|\s)#.*", "", line).strip()
    if not text:
        return None
    key, equals, value = (part.strip() for part in text.partition("="))
    if not (equals and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]*", key)):
        # The line itself is not repeated: it may be a URL with a password.
        raise InvalidSettings(f"{where}: a setting is KEY=VALUE, a comment begins with #")
    if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
        value = value[1:-1]
    return key, value


def _meant(key: str) -> str:
    from difflib import get_close_matches

    nearest = get_close_matches(key.upper().replace("-", "_"), _KEYS, n=1)
    return f"; did you mean {nearest[0]}?" if nearest else f"; known are {', '.join(_KEYS)}"


def _db_url(value: str) -> str:
    """Messages never repeat the value: it may hold a password."""
    if value == DEFAULT_URL:
        return value
    if not value.startswith(_SCHEMES):
        raise ValueError("must be `default` (SQLite) or a postgresql:// URL")
    from urllib.parse import urlsplit

    hosts = value.partition("://")[2].partition("/")[0].rpartition("@")[2].partition("?")[0]
    try:
        _ = [urlsplit(f"//{host}").port for host in hosts.split(",")]
    except ValueError:
        raise ValueError(
            "must be a postgresql://user:password@host:port/database URL, with %23 for a # in it and the like"
        ) from None
    return value


def _time_zone(value: str) -> str:
    if _is_zone(value):
        return value
    from difflib import get_close_matches
    from zoneinfo import available_timezones

    nearest = get_close_matches(value.replace(" ", "_"), sorted(available_timezones()), n=1)
    meant = f"; did you mean {nearest[0]}?" if nearest else ""
    raise ValueError(f"must be an IANA name such as Africa/Nairobi, not {_shown(value)}{meant}")


def _switch(value: str) -> bool:
    if value not in ("0", "1"):
        raise ValueError(f"must be 0 or 1, not {_shown(value)}")
    return value == "1"


def _whole(what: str, most: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        if not re.fullmatch(r"[0-9]{1,19}", value) or int(value) > most:
            raise ValueError(f"must be {what}, not {_shown(value)}")
        return int(value)

    return parse


def _shown(value: str) -> str:
    """A value for a message, unless it may be a URL with a password that stands at the wrong key."""
    return "a URL" if "://" in value or "@" in value else repr(value[:80])


def _is_zone(name: str) -> bool:
    # These are in many zoneinfo folders but name no place's zone; right/ counts leap seconds.
    if not name or name.startswith(("posix/", "right/")) or name in ("localtime", "posixrules"):
        return False
    from zoneinfo import ZoneInfo

    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True


def _after_zoneinfo(path: str) -> str:
    """``/usr/share/zoneinfo/Africa/Nairobi`` → ``Africa/Nairobi``; a bare name stays."""
    return path.rpartition("zoneinfo/")[2]


_KEYS: dict[str, tuple[str, Callable[[str], object]]] = {
    "DB_URL": ("db_url", _db_url),
    "TIME_ZONE": ("time_zone", _time_zone),
    "ROTATE_LOGS": ("rotate_logs", _switch),
    "LOG_MAX_SIZE": ("log_max_size", _whole("a number of bytes, 0 or more", _LARGEST)),
    "HISTORY_DAYS": (
        "history_days",
        _whole(f"a number of days up to {_MOST_DAYS}, or 0 for no limit", _MOST_DAYS),
    ),
    "HISTORY_RUNS": ("history_runs", _whole("a number of runs, or 0 for no limit", _LARGEST)),
}
