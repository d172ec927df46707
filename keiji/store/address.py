"""DB_URL as PostgreSQL's library reads it, and how messages may name it: never with a password."""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from keiji import remedies
from keiji.errors import StoreUnavailable
from keiji.settings import Settings

# Where DB_URL says nothing else. A server that is gone without a word is noticed within half a minute.
_KEEPALIVES = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
_DEFAULTS = {"tcp_user_timeout": 20000, "application_name": "keiji", **_KEEPALIVES}
_CONNECTING = (
    2,
    5,
)  # seconds for each of the host's addresses, by the caller's patience; libpq takes no less
_HIDDEN = ("password", "sslpassword")
_NAME = re.compile(r"[\w.+ -]{1,63}")
_HOST = re.compile(r"[\w.,:/+-]{1,200}")
_AUTHORITY = re.compile(r"postgres(?:ql)?://([^/]*)([^?]*)")


@dataclass(frozen=True, repr=False)
class Address:
    """`parameters` are libpq's; `where` names the database for people."""

    parameters: dict[str, Any]
    where: str

    def hides(self, text: str) -> bool:
        """Whether a text holds a secret of the URL, as it is or quoted."""
        secrets = [str(self.parameters[name]) for name in _HIDDEN if self.parameters.get(name)]
        return any(form in text for secret in secrets for form in (secret, quote(secret), quote(secret, "")))


def load_driver(settings: Settings) -> Any:
    """psycopg2; raises `StoreUnavailable` that says how it is installed beside this keiji."""
    try:
        import psycopg2
    except ImportError:
        raise StoreUnavailable(
            f"DB_URL in {settings.folders.settings} names a PostgreSQL database, and psycopg2 is not "
            f"installed: {_remedy(sys.prefix, sys.base_prefix, __file__)}"
        ) from None
    return psycopg2


def address_of(settings: Settings, driver: Any, patience: float) -> Address:
    """The address that DB_URL says; raises `StoreUnavailable`.

    `patience`: seconds that the caller would wait for another's write.
    Nothing of a URL that can't be read is repeated: any part of it may be of the password.
    """
    said = None
    if _is_clear(settings.db_url):
        with suppress(driver.Error, UnicodeError):
            said = driver.extensions.parse_dsn(settings.db_url)
    if said is None:
        raise StoreUnavailable(
            f"DB_URL in {settings.folders.settings} is no URL that PostgreSQL's library understands: it is "
            "postgresql://user:password@host:port/database?option=value, with %40 for a @, %2F for a / "
            "and %25 for a % in a part"
        )
    least, most = _CONNECTING
    connecting = {"connect_timeout": max(least, min(most, round(patience)))}
    return Address({**_DEFAULTS, **connecting, **said, "client_encoding": "UTF8"}, _where(said))


def _is_clear(url: str) -> bool:
    """Whether no part of an unquoted password can be taken for the host or the database."""
    found = _AUTHORITY.match(url)
    return found is not None and found[1].count("@") <= 1 and "@" not in found[2] and "\0" not in url


def _where(said: dict[str, str]) -> str:
    name = _shown(_NAME, said.get("dbname") or said.get("user") or "")
    host = _shown(_HOST, said.get("host") or said.get("hostaddr") or "")
    port = _shown(_HOST, said.get("port", ""))
    at = f" at {host}{':' + port if port and not host.startswith('/') else ''}" if host else ""
    return f"the PostgreSQL database{' ' + name if name else ''}{at}"


def _shown(rule: re.Pattern[str], text: str) -> str:
    """The text, if it can hold no URL with a password."""
    return text if rule.fullmatch(text) else ""


def _remedy(prefix: str, base_prefix: str, file: str) -> str:
    if "/dist-packages/" in file:
        return "`sudo apt install python3-psycopg2`"
    if "/pipx/" in prefix:
        return "`pipx inject keiji psycopg2-binary`"
    if "/uv/tools/" in prefix:
        return "`uv tool install keiji --with psycopg2-binary`"
    if prefix == base_prefix:
        return f"`{remedies.word(sys.executable)} -m pip install --user psycopg2-binary`"
    return f"`{remedies.word(sys.executable)} -m pip install psycopg2-binary`"
