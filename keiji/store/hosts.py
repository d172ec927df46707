"""Under which name this machine's rows are kept, and that no other machine's are under it.

A SQLite database belongs to one machine. In one that is shared, the table `host` says whose a name is: by
an id that the system folder keeps, and the machine's own, so that neither a second machine of the same name
nor a copy of the folder mixes its rows in. A machine whose name changes keeps its rows and its old name.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from keiji.errors import StoreUnavailable
from keiji.folders import Folders
from keiji.store.engine import Engine
from keiji.store.rows import plain

_OURS = "SELECT name, installation, machine FROM host WHERE installation = {mark} OR name = {mark}"
_ID = re.compile("[0-9a-f]{32}")
_CLAIM = (
    "INSERT INTO host (name, installation, machine) VALUES ({mark}, {mark}, {mark}) ON CONFLICT DO NOTHING"
)


def name_of(engine: Engine, folders: Folders) -> str:
    """The name; raises `StoreUnavailable` where it is another machine's."""
    if not engine.is_shared:
        rows = engine.ask("SELECT host FROM task LIMIT 1")
        return str(rows[0][0]) if rows else machine_name()
    installation = _installation(folders)
    rows = engine.ask(_OURS.format(mark="?"), installation, machine_name())
    return _ours(engine, folders, rows, installation) or machine_name()


def claim(engine: Engine, database: Any, folders: Folders) -> str:
    """As `name_of`, within a transaction: the name is taken, and other writers of this machine wait."""
    if not engine.is_shared:
        return name_of(engine, folders)
    installation = _installation(folders) or _make_installation(engine, folders)
    values = (machine_name(), installation, _machine())
    question = f"{_OURS} FOR UPDATE".format(mark=database.param)
    for _ in range(2):
        rows = database.execute_sql(question, (installation, machine_name())).fetchall()
        name = _ours(engine, folders, rows, installation)
        if name:
            _note_machine(database, installation, rows)
            return name
        database.execute_sql(_CLAIM.format(mark=database.param), values)
    raise StoreUnavailable(f"{engine.where} does not keep who this machine is: look at its table host")


def release(database: Any, folders: Folders) -> None:
    """Let the name go."""
    database.execute_sql(f"DELETE FROM host WHERE installation = {database.param}", (_installation(folders),))


def machine_name() -> str:
    return plain(os.uname().nodename)


def _ours(engine: Engine, folders: Folders, rows: list[Any], installation: str) -> str:
    """The name that is this folder's, or empty where none is and the machine's is free."""
    for name, owner, machine in rows:
        if owner == installation and machine and _machine() not in ("", machine):
            raise StoreUnavailable(
                f"{folders.home} was copied from another machine, whose tasks are those of {name!r} in "
                f"{engine.where}: remove {_path(folders)} on this one to begin under its own name, or, if it "
                f"replaces the other, `UPDATE host SET machine = '' WHERE name = '{name}'` in that database"
            )
    mine = [name for name, owner, _ in rows if owner == installation]
    if rows and not mine:
        raise StoreUnavailable(
            f"another keiji keeps its tasks in {engine.where} under this machine's name {rows[0][0]!r}: give "
            "one of both a schema of its own in DB_URL (?options=-csearch_path%3DNAME), or, if the other is "
            f"gone for good or was this one before {_path(folders)} was lost, `DELETE FROM host WHERE name = "
            f"'{rows[0][0]}'` in that database: its tasks and runs are this one's then"
        )
    return str(mine[0]) if mine else ""


def _note_machine(database: Any, installation: str, rows: list[Any]) -> None:
    if any(owner == installation and not machine for _, owner, machine in rows) and _machine():
        statement = f"UPDATE host SET machine = {database.param} WHERE installation = {database.param}"
        database.execute_sql(statement, (_machine(), installation))


def _path(folders: Folders) -> Path:
    return folders.home / "installation"


def _installation(folders: Folders) -> str:
    """The id of this system folder, or empty where it has none yet."""
    try:
        text = _path(folders).read_text(encoding="ascii").strip()
    except (OSError, UnicodeError):
        return ""
    return text if _ID.fullmatch(text) else ""


def _make_installation(engine: Engine, folders: Folders) -> str:
    import uuid  # every look would pay for it

    own = _path(folders).with_name(f".installation-{uuid.uuid4().hex}")
    try:
        try:
            _write(own, uuid.uuid4().hex)
            with suppress(FileExistsError):  # another process was faster
                os.link(own, _path(folders))
            if not _installation(folders):  # what is there was torn by a power cut
                own.replace(_path(folders))
        finally:
            own.unlink(missing_ok=True)
    except OSError as error:
        raise StoreUnavailable(
            f"{_path(folders)}, by which {engine.where} knows this machine, cannot be made "
            f"({error.strerror}): check its folder's owner and mode, and the room on its disk"
        ) from None
    return _installation(folders)


def _write(path: Path, text: str) -> None:
    """Make the file, whole on the disk when this returns."""
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
        file.write(f"{text}\n")
        file.flush()
        os.fsync(file.fileno())


def _machine() -> str:
    """What tells this machine from its copies; the id itself is meant to stay on the machine."""
    import hashlib

    try:
        number = Path("/etc/machine-id").read_text(encoding="ascii").strip()
    except (OSError, UnicodeError):
        return ""
    return hashlib.sha256(f"keiji {number}".encode()).hexdigest()[:32]
