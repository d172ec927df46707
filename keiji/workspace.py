"""The author's side: the workspace's files, a new task's folder, and what its ``.env`` says."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from keiji import files, scaffold
from keiji.errors import InvalidName, InvalidTask, NoSuchTask, TaskExists, UsageError
from keiji.folders import Folders
from keiji.locks import folder_lock
from keiji.task import slug_of


@dataclass(frozen=True)
class Sources:
    """A task as its author wrote it: `env` is every entry of its ``.env``, secrets included."""

    folder: Path
    slug: str
    name: str
    description: str
    env: Mapping[str, str]


def make_workspace(folders: Folders, settings_text: str) -> list[str]:
    """Make what is missing of the workspace and say what was made; what is there is left alone."""
    made = []
    for folder in (folders.workspace, folders.tasks):
        if not folder.is_dir():
            folder.mkdir(parents=True)
            made.append(f"made {folder}")
    # DB_URL may hold a password
    for path, text, mode in (
        (folders.project, scaffold.PROJECT, 0o666),
        (folders.settings, settings_text, 0o600),
    ):
        if not path.exists():
            files.write(path, text, mode)
            made.append(f"made {path}")
    return made


def create_task(
    folders: Folders, name: str, description: str, force: bool = False, unit: str = "keiji-{slug}.timer"
) -> Path:
    """Scaffold the task's folder in one step and return it; `unit` is how the system names its units.

    With `force` a folder that is there is replaced as a whole, else `TaskExists`; raises
    `InvalidName` and, for a description that is not one line of text, `UsageError`.
    """
    slug = slug_of(name)
    if not is_one_line(description):
        raise UsageError("a description is one line of text, without control characters")
    folder = folders.tasks / slug
    folders.tasks.mkdir(parents=True, exist_ok=True)
    with folder_lock(folders.tasks):
        _mend(folder)
        if os.path.lexists(folder) and not force:
            raise TaskExists(f"{folder} is there already: `--force` replaces it with new files")
        fresh = _fresh(folder)
        try:
            python = str(folders.venvs / "current" / "bin" / "python")
            _fill(fresh, scaffold.task_files(name, description, unit.format(slug=slug), python))
            _replace(folder, fresh)
        except BaseException:
            _remove(fresh)
            raise
    return folder


def read_sources(folders: Folders, name: str) -> Sources:
    """What the folder of the task called `name` (its name or slug) says of it.

    Raises `NoSuchTask`, and `InvalidTask` when its ``.env`` cannot be used.
    """
    slug = slug_of(name)
    folder = folders.tasks / slug
    if not folder.is_dir():
        _check_misnamed(folder)
        raise NoSuchTask(f"there is no folder {folder}: `keiji task create` makes it")
    env = _read_env(folder / ".env")
    task_name = env.get("TASK_NAME", "")
    if not task_name:
        raise InvalidTask(f"{folder / '.env'}: TASK_NAME is missing; write TASK_NAME={slug}")
    _check_belongs(folder, task_name)
    description = env.get("TASK_DESCRIPTION", "")
    if not is_one_line(description):
        raise InvalidTask(f"{folder / '.env'}: TASK_DESCRIPTION must be one line of text")
    return Sources(folder, slug, task_name, description, env)


def task_slugs(folders: Folders) -> list[str]:
    """The slugs of all task folders in the workspace, sorted; other things there are passed over."""
    if not folders.tasks.is_dir():
        return []
    with os.scandir(folders.tasks) as entries:
        found = [e.name for e in entries if not e.name.startswith(".") and e.is_dir()]
    return sorted(name for name in found if any((folders.tasks / name / f).exists() for f in scaffold.OWN))


def _read_env(path: Path) -> dict[str, str]:
    from keiji.runner import RESERVED, parse_env

    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InvalidTask(f"{path} is missing: it must say TASK_NAME=…") from None
    except UnicodeDecodeError:
        raise InvalidTask(f"{path} is not UTF-8 text") from None
    except OSError as error:
        raise InvalidTask(f"{path} cannot be read: {error.strerror}") from None
    try:
        entries = parse_env(text)
    except ValueError as error:
        raise InvalidTask(f"{path}, {error}") from None
    for number, key, _ in entries:
        if key in RESERVED:
            raise InvalidTask(f"{path}, line {number}: {key} is set by the system for each run; rename it")
    return {key: value for _, key, value in entries}


def _check_misnamed(folder: Path) -> None:
    """Raise `InvalidTask` when the task's folder is there, but named otherwise (such as `My_Task`)."""
    if not folder.parent.is_dir():
        return
    with os.scandir(folder.parent) as entries:
        for entry in entries:
            if entry.is_dir() and entry.name.lower().replace(" ", "-") == folder.name:
                raise InvalidTask(
                    f"{entry.path}: a task's folder is named in lower case, with `-` for spaces: "
                    f"rename it to {folder.name}"
                )


def _check_belongs(folder: Path, name: str) -> None:
    try:
        slug = slug_of(name)
    except InvalidName as error:
        raise InvalidTask(f"{folder / '.env'}: TASK_NAME: {error.message}") from None
    if slug != folder.name:
        raise InvalidTask(
            f"{folder / '.env'}: TASK_NAME={name} belongs in the folder {slug!r}; "
            f"rename the folder or write TASK_NAME={folder.name}"
        )


def is_one_line(text: str) -> bool:
    """Whether a record can print it: `splitlines` knows more ends of a line than ``\\n``."""
    controls = any(ord(character) < 32 or ord(character) == 127 for character in text)
    surrogates = any(0xD800 <= ord(character) <= 0xDFFF for character in text)
    return not controls and not surrogates and len(f"{text}.".splitlines()) == 1


def _fresh(folder: Path) -> Path:
    return folder.with_name(f".new-{folder.name}")


def _aside(folder: Path) -> Path:
    return folder.with_name(f".old-{folder.name}")


def _fill(folder: Path, contents: Mapping[str, str]) -> None:
    folder.mkdir()
    for name, text in contents.items():
        files.write(folder / name, text, mode=0o600 if name == ".env" else 0o666)


def _replace(folder: Path, fresh: Path) -> None:
    """Put `fresh` in the place of `folder`; a folder can't be renamed over one that isn't empty."""
    if not os.path.lexists(folder):
        fresh.rename(folder)
        return
    aside = _aside(folder)
    folder.rename(aside)
    try:
        fresh.rename(folder)
    except BaseException:
        aside.rename(folder)
        raise
    _remove(aside)


def _mend(folder: Path) -> None:
    """Undo a replacement that was killed between its two renames, and clean up after a killed one."""
    if not os.path.lexists(folder) and os.path.lexists(_aside(folder)):
        _aside(folder).rename(folder)
    _remove(_aside(folder))
    _remove(_fresh(folder))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
