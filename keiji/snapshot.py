"""Copies of the author's files, and the digest that tells whether they have changed."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import BinaryIO

from keiji.errors import InvalidTask

_LEFT_OUT = {"__pycache__", ".git", ".hg", ".svn", ".venv", ".idea", ".vscode", ".DS_Store"}
_LEFT_OUT |= {".mypy_cache", ".pytest_cache", ".ruff_cache"}
_PIECE = 1 << 20


def task_digest(folder: Path, into: Path | None = None) -> str:
    """The digest of a task's folder without its ``.env``; the files are copied when `into` is given.

    `into` must not exist; byte code, version control and editors' traces are left out. Links are
    followed: a copy must run by itself. Raises `InvalidTask` that names what cannot be copied.
    """
    entries = [entry for entry in _entries(folder) if entry.name != ".env"]
    return _Walk(folder.parent.parent, into).digest(folder, entries)


def shared_digest(workspace: Path, into: Path | None = None) -> str:
    """The same of the modules and packages at the workspace's root."""
    entries = [entry for entry in _entries(workspace) if _is_code(entry)]
    return _Walk(workspace, into).digest(workspace, entries)


class _Walk:
    """One walk: everything it meets goes into one digest, and into a copy."""

    def __init__(self, workspace: Path, into: Path | None) -> None:
        self._workspace = os.path.realpath(workspace)
        self._copies = into is not None
        self._into = os.fspath(into or "")
        self._hash = hashlib.sha256()

    def digest(self, root: Path, entries: list[os.DirEntry[str]]) -> str:
        if self._copies:
            os.mkdir(self._into, 0o700)
        for entry in entries:
            self._meet(entry, entry.name, (os.path.realpath(root),))
        return self._hash.hexdigest()

    def _meet(self, entry: os.DirEntry[str], name: str, above: tuple[str, ...]) -> None:
        """Take in one entry; `name` is its path in the copy, `above` the real folders on the way to it."""
        try:
            status = entry.stat()
            if stat.S_ISDIR(status.st_mode):
                self._folder(entry, name, above)
            elif stat.S_ISREG(status.st_mode):
                self._file(entry.path, name, bool(status.st_mode & stat.S_IXUSR))
            else:
                raise InvalidTask(
                    f"{entry.path} is neither a file nor a folder: it cannot be part of a build"
                )
        except FileNotFoundError:
            what = "links to nothing" if entry.is_symlink() else "vanished while it was read; try again"
            raise InvalidTask(f"{entry.path} {what}") from None
        except PermissionError as error:
            raise InvalidTask(f"{error.filename} cannot be read: {error.strerror}") from None

    def _folder(self, entry: os.DirEntry[str], name: str, above: tuple[str, ...]) -> None:
        real = os.path.realpath(entry.path)
        if entry.is_symlink() and not _is_within(real, self._workspace):
            raise InvalidTask(f"{entry.path} links to a folder outside the workspace: name its path in .env")
        if any(_is_within(folder, real) for folder in above):
            raise InvalidTask(f"{entry.path} links to a folder that it lies in")
        self._note(b"d", name, b"")
        if self._copies:
            os.mkdir(os.path.join(self._into, name))
        for inner in _entries(Path(entry.path)):
            self._meet(inner, f"{name}/{inner.name}", (*above, real))

    def _file(self, path: str, name: str, is_executable: bool) -> None:
        with open(path, "rb") as source:
            if not self._copies:
                content = _hashed(source, None)
            else:
                mode = 0o700 if is_executable else 0o600
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
                copy = os.open(os.path.join(self._into, name), flags, mode)
                with open(copy, "wb") as target:
                    content = _hashed(source, target)
        self._note(b"x" if is_executable else b"f", name, content)

    def _note(self, kind: bytes, name: str, content: bytes) -> None:
        self._hash.update(kind + os.fsencode(name) + b"\0" + content)


def _hashed(source: BinaryIO, target: BinaryIO | None) -> bytes:
    """The digest of what `source` holds, which is written to `target` on the way."""
    found = hashlib.sha256()
    while piece := source.read(_PIECE):
        found.update(piece)
        if target is not None:
            target.write(piece)
    return found.digest()


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What a build takes of a folder, sorted by name."""
    try:
        with os.scandir(folder) as entries:
            return sorted((e for e in entries if _is_taken(e)), key=lambda entry: entry.name)
    except PermissionError as error:
        raise InvalidTask(f"{folder} cannot be read: {error.strerror}") from None


def _is_taken(entry: os.DirEntry[str]) -> bool:
    """Not byte code and the like, an editor's lock or swap file, or a virtual environment."""
    name = entry.name
    if name in _LEFT_OUT or name.startswith(".#") or (name[0] == "." and name.endswith((".swp", ".swo"))):
        return False
    return not (entry.is_dir() and os.path.exists(os.path.join(entry.path, "pyvenv.cfg")))


def _is_code(entry: os.DirEntry[str]) -> bool:
    """A module, or a folder that can be imported because there are modules in it."""
    if not entry.is_dir():
        return entry.name.endswith(".py")
    return entry.name != "tasks" and entry.name.isidentifier() and _has_code(Path(entry.path))


def _has_code(folder: Path) -> bool:
    entries = _entries(folder)
    if any(entry.name.endswith(".py") for entry in entries):
        return True
    return any(_has_code(Path(e.path)) for e in entries if e.is_dir(follow_symlinks=False))


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")
