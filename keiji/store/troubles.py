"""What PostgreSQL's errors mean, in one line each that says what to do."""

from __future__ import annotations

import re
from typing import Any

from keiji.errors import StoreUnavailable
from keiji.store.address import Address
from keiji.store.engine import Conflict, NoTable

_BUSY = "{where} is being written by another program: try again"
_ACCESS = "{where} does not let this user in: correct DB_URL, or the server's pg_hba.conf"
_PASSWORD = "{where} refuses the password: correct it in DB_URL or ~/.pgpass"
_NO_DATABASE = "there is no {database}: correct DB_URL, or make the database there (`createdb`)"
_RIGHTS = (
    "the user of DB_URL lacks rights in {where}: grant it CREATE on the schema and all on keiji's tables, "
    "or give keiji a schema of its own"
)
_STARTING = "the server of {where} is starting up or shutting down: try again in a moment"
_CROWDED = "{where} takes no more connections: try again, or raise the server's max_connections"
_READ_ONLY = "{where} is read-only, perhaps a standby: name the primary server in DB_URL"
_FULL = "the disk of the server of {where} is full: free some space on it"
_FAILS = "the disk of the server of {where} fails: look at the server's log"
_OTHERS = (
    "{where} has tables of another program where keiji's should be: give keiji a schema of its own "
    "(in DB_URL: ?options=-csearch_path%3DNAME)"
)
NO_SCHEMA = "{where} has not the schema that DB_URL names: make it (`CREATE SCHEMA`), or correct DB_URL"
_SLOW = "{where} takes too long to answer: look at what the server is doing, then try again"
_LOST = "the connection to {where} was lost: try again; look at the network and the server's log"
_SILENT = "{where} does not answer: look at the server and the network between"
_REFUSED = "nothing listens for {where} (connection refused): start the server, or correct DB_URL"
_SOCKET = "there is no server's socket for {where}: start the server, or correct DB_URL"
_UNKNOWN = "the host of {where} is unknown: correct it in DB_URL, or look at the name service"
_UNREACHABLE = "the host of {where} cannot be reached: look at the network"
_TLS = "{where} cannot be reached by TLS as DB_URL asks ({said}): correct sslmode and certificates in DB_URL"
_OTHER_SERVER = "what answers for {where} is no PostgreSQL server: correct host and port in DB_URL"
_NO_PASSWORD = "{where} wants a password: put it into DB_URL or ~/.pgpass"
_ANY = "{where} failed ({said}): look at the server's log"

_BY_CODE = {
    "28P01": _PASSWORD,
    "28000": _ACCESS,
    "3D000": _NO_DATABASE,
    "42501": _RIGHTS,
    "3F000": NO_SCHEMA,
    "57P01": _LOST,
    "57P02": _LOST,
    "57P03": _STARTING,
    "57P05": _LOST,
    "25P03": _LOST,
    "53300": _CROWDED,
    "25006": _READ_ONLY,
    "53100": _FULL,
    "58030": _FAILS,
    "XX001": _FAILS,
    "55P03": _BUSY,
    "57014": _SLOW,
    "42703": _OTHERS,
    "42804": _OTHERS,
    "42809": _OTHERS,
    "42P07": _OTHERS,
}
# While it connects, libpq has only words.
_BY_WORDS = {
    "password authentication failed": _PASSWORD,
    "no password supplied": _NO_PASSWORD,
    "connection refused": _REFUSED,
    "could not translate host name": _UNKNOWN,
    "timeout expired|timed out": _SILENT,
    "unreachable|no route to host": _UNREACHABLE,
    "starting up|shutting down|in recovery mode|not yet accepting|not accepting connections": _STARTING,
    "too many clients|too many connections|connection slots": _CROWDED,
    'database ".*" does not exist': _NO_DATABASE,
    'role ".*" does not exist|no pg_hba.conf entry|authentication failed|not permitted to log in': _ACCESS,
    "permission denied for database": _ACCESS,
    "no such file or directory": _SOCKET,
    "invalid response to ssl|expected authentication request": _OTHER_SERVER,
    "ssl|certificate": _TLS,
    "session is read-only|session is not read-only|server is (not )?in hot standby": _READ_ONLY,
    "closed the connection|connection reset|broken pipe|already closed|connection not open": _LOST,
}
_CONFLICTS = ("40001", "40P01")


def explained(address: Address, error: BaseException, is_silent: bool) -> StoreUnavailable:
    """What an error of psycopg2, or of peewee about one, is to a person.

    `is_silent`: the connection was given up because nothing came.
    """
    origin = _origin(error)
    code = getattr(origin, "pgcode", None)
    said = str(origin)
    if code in _CONFLICTS:
        return Conflict(_in_words(address, _BUSY, said))
    if code == "42P01":
        return NoTable(_in_words(address, _OTHERS, said))
    if is_silent:
        return StoreUnavailable(_in_words(address, _SILENT, said))
    meaning = _BY_CODE.get(code or "") or _by_words(said if code is None else "") or _ANY
    return StoreUnavailable(_in_words(address, meaning, said))


def _by_words(said: str) -> str:
    lower = said.lower()
    return next((meaning for words, meaning in _BY_WORDS.items() if re.search(words, lower)), "")


def _in_words(address: Address, meaning: str, said: str) -> str:
    first = re.sub(r"^connection to server .*? failed: ", "", said.strip()).partition("\n")[0][:300]
    shown = "in words that tell a secret" if address.hides(said) else first
    return meaning.format(where=address.where, database=address.where.removeprefix("the "), said=shown)


def _origin(error: BaseException) -> Any:
    """peewee wraps psycopg2's errors in its own."""
    for found in (error, *error.args, error.__context__):
        if type(found).__module__.startswith("psycopg2") and isinstance(found, BaseException):
            return found
    return error
