"""Whether unit files are as they would be written now, and their commands are still there."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path

from keiji import __version__, files, remedies
from keiji.findings import Finding, error, warning
from keiji.folders import Folders
from keiji.systemd import bus_unit, calendar, drop_ins, names, systemctl, units
from keiji.task import Task

_UPDATE = "`keiji system update`"
_YEAR = timedelta(days=365)
_PATIENCE = 10.0  # seconds for an interpreter to start
_TZDATA = re.compile(r"^# Clock changes .* by tzdata (\S+)\.$", re.MULTILINE)


# -- a task's --------------------------------------------------------------------------------


def of_task(folders: Folders, task: Task, command: list[str]) -> Iterator[Finding]:
    """What is wrong with the task's two files; `task.schedule` names its zone."""
    paths = [names.unit_folder() / name for name in (names.service(task.slug), names.timer(task.slug))]
    texts = {path.name: files.read(path) for path in paths}
    gone = [name for name, text in texts.items() if text is None]
    if gone:
        yield error(f"{' and '.join(gone)} {'is' if len(gone) == 1 else 'are'} gone", _UPDATE, task.slug)
        return
    link = names.wanted_folder() / names.timer(task.slug)
    if os.path.lexists(link) and not names.starts(link):
        said = f"{link} points elsewhere, so its timer does not start with {names.TARGET}"
        yield error(said, f"`keiji task enable {task.slug}`", task.slug)
    # They look ahead from the moment at which they were written, not from now.
    written = datetime.fromtimestamp(max(path.stat().st_mtime for path in paths), timezone.utc)
    wanted = units.render_task(folders, task, command, written)
    was, is_now = (names.zone(text or "") for text in (texts[paths[1].name], wanted[paths[1].name]))
    if was and is_now and was != is_now:
        yield error(f"its units go by {was}, and TIME_ZONE is {is_now} now", _UPDATE, task.slug)
        return
    differing = [name for name, text in texts.items() if text != wanted[name]]
    if any(_acting(texts[name]) != _acting(wanted[name]) for name in differing):
        said = f"{' and '.join(differing)} {'is' if len(differing) == 1 else 'are'} not what keiji writes now"
        yield error(said, _UPDATE, task.slug)
    elif differing:
        yield _about_zones(texts[names.timer(task.slug)] or "", task.slug)
    yield from _short_sight(task, written)


def _acting(text: str | None) -> list[str]:
    """The lines that systemd reads."""
    return [line for line in (text or "").splitlines() if not line.startswith("#")]


def _about_zones(text: str, slug: str) -> Finding:
    then, now = _TZDATA.search(text), calendar.tzdata_version()
    if then and then[1] != now:
        return warning(f"its clock changes are those of tzdata {then[1]}, and this is {now}", _UPDATE, slug)
    return warning("the comments of its units are not what keiji writes now", _UPDATE, slug)


def _short_sight(task: Task, written: datetime) -> Iterator[Finding]:
    now = datetime.now(timezone.utc)
    if now - written < _YEAR:
        return
    horizon = calendar.plan(task.schedule, task.slug, written).horizon
    if horizon and horizon - now < _YEAR:
        yield warning(f"clock changes after {horizon:%Y-%m-%d} are unknown to its units", _UPDATE, task.slug)


# -- keiji's own -----------------------------------------------------------------------------


def own(folders: Folders, is_loopback: bool = False) -> Iterator[Finding]:
    """What is wrong with keiji's own units."""
    other = names.other_owner(folders.home)
    if other:
        home = f"KEIJI_HOME={remedies.word(other)}"
        remedy = f"`{home} keiji system uninstall`, or use that one: `export {home}`"
        yield error(f"the units installed here belong to the keiji in {other}", remedy)
        return
    if not (names.unit_folder() / names.TARGET).exists():
        yield error("keiji's own units are not installed", "`keiji init`")
        return
    wanted = {names.unit_folder() / name: text for name, text in units.render_own(folders).items()}
    wanted |= bus_unit.wanted(folders, is_loopback)
    lame: list[str] = []
    for program, ids in _programs({names.BUS_SERVICE, *(path.name for path in wanted)}).items():
        fault = _fault(program, folders)
        if fault:
            lame += ids
            yield error(f"{program}, which {', '.join(ids)} run, {fault}", _UPDATE)
    yield from _own_files({path: text for path, text in wanted.items() if path.name not in lame})


def _own_files(wanted: Mapping[Path, str]) -> Iterator[Finding]:
    for path, text in wanted.items():
        found = files.read(path)
        if found != text:
            yield error(f"{path} is {'gone' if found is None else 'not what keiji writes now'}", _UPDATE)
    for link in names.own_links():
        if not names.starts(link):
            how = "points elsewhere" if os.path.lexists(link) else "is gone"
            yield error(f"{link} {how}: {link.name} does not start with {names.TARGET}", _UPDATE)


def _programs(own_units: Iterable[str]) -> dict[str, list[str]]:
    """What the services execute: the program → their names."""
    services = sorted(name for name in own_units if name.endswith(".service"))
    found: dict[str, list[str]] = {}
    for unit in systemctl.show_all(services, ("Id", "ExecStart", "DropInPaths")):
        # What somebody else has it execute is no matter of keiji's; `loaded` tells.
        if unit.get("ExecStart") and all(drop_ins.is_mild(Path(path)) for path in drop_ins.foreign(unit)):
            found.setdefault(systemctl.program(unit["ExecStart"]), []).append(unit["Id"])
    return found


def _fault(program: str, folders: Folders) -> str:
    """Why that interpreter can't run this keiji, or nothing."""
    if not os.access(program, os.X_OK):
        return "is gone"
    # Where the manager runs it nothing says where else to look for modules.
    environ = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    words = [program, *units.python()[1:], "-c", "import keiji; print(keiji.__version__)"]
    try:
        version = subprocess.check_output(
            words, cwd=folders.run, env=environ, stderr=subprocess.DEVNULL, text=True, timeout=_PATIENCE
        ).strip()
    except subprocess.CalledProcessError:
        return "has no keiji any more"
    except (OSError, subprocess.TimeoutExpired) as problem:
        return f"does not run: {problem}"
    if not version[:1].isdigit():
        return "does not say that it has keiji"
    return "" if version == __version__ else f"has keiji {version}, and this is {__version__}"
