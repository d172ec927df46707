"""From a `Task` to the text of its service and timer, and keiji's own units."""

from __future__ import annotations

import os
import site
import sys
from datetime import datetime, timezone

import keiji
from keiji import rendering
from keiji.folders import Folders
from keiji.systemd import calendar, escape, names
from keiji.task import Task

_OWN = (
    names.TARGET,
    names.HOUSEKEEPING,
    names.STARTUP,
    "io.keiji.housekeeping.service",
    "io.keiji.failed.service",
    "io.keiji.failed-after.service",
)


def render_task(
    folders: Folders, task: Task, command: list[str], at: datetime | None = None
) -> dict[str, str]:
    """The task's two units: file name → text; clock changes are looked ahead from `at` (now).

    The schedule must name its zone already.
    """
    plan = calendar.plan(task.schedule, task.slug, at or datetime.now(timezone.utc))
    firing = calendar.firing(task.schedule, task.slug)
    if plan.windows:
        windows = ",".join(f"{first}-{last}" for first, last in plan.windows)
        command = [*command, "--extras", windows]
    policy = task.schedule.policy
    zone = str(policy.timezone) if policy.zone_is_default and task.schedule.needs_zone else ""
    if zone and (plan.windows or firing.guard):
        # The settings' zone may have changed since the build, whose schedule the runner knows.
        command = [*command, "--zone", zone]
    values = {
        "task": task,
        "schedule": str(task.schedule),
        "plan": plan,
        "zone": zone,
        "note": firing.guard if firing.guard in ("boot", "period") else "",
        "tzdata": calendar.tzdata_version(),
        "held": folders.held(task.slug),
        "running": folders.running(task.slug),
        "command": command,
        "filed": folders.filed.exists(),
        "limit": firing.limit,
        "memory": policy.memory,
        "cpu": policy.cpu,
    }
    return {
        names.service(task.slug): _render("task.service.j2", **values),
        names.timer(task.slug): _render("task.timer.j2", **values),
    }


def python() -> list[str]:
    """The interpreter of keiji's own services, deaf to what the manager's environment says of modules."""
    # Isolated it would not find what `pip install --user` has put beside the person's own modules.
    own = site.getusersitepackages()
    return [sys.executable, "-E" if keiji.__file__.startswith(f"{own}{os.sep}") else "-I"]


def render_own(folders: Folders) -> dict[str, str]:
    """keiji's own units but for the bus: file name → text."""
    values = _own_values(folders)
    templates = rendering.templates("units")
    return {
        name: _render(f"{name}.j2", **values) if (templates / f"{name}.j2").exists() else _render(name)
        for name in _OWN
    }


def render_bus(folders: Folders) -> tuple[str, str]:
    """The bus service's unit, and the file by which D-Bus has it started."""
    unit = _render(f"{names.BUS_SERVICE}.j2", transport="dbus", **_own_values(folders))
    return unit, _render(f"{names.BUS}.activation")


def render_loopback_bus(folders: Folders) -> str:
    """The unit of a bus service that listens on a loopback socket."""
    return _render(f"{names.BUS_SERVICE}.j2", transport="loopback", **_own_values(folders))


def render_shipped_bus() -> tuple[str, str]:
    """The same for a package of the system, where they are everybody's."""
    # Isolated, for who calls it from a home that holds, say, a click.py must get the package's own code.
    python = ["/usr/bin/python3", "-I"]
    values = {"transport": "dbus", "environment": [], "python": python, "run": "", "filed": False}
    unit = _render(f"{names.BUS_SERVICE}.j2", **values)
    return unit, _render(f"{names.BUS}.activation")


def render_bus_drop_in(folders: Folders) -> str:
    """What makes the package's unit this person's."""
    return _render(f"{names.BUS}.conf.j2", **_own_values(folders))


def _own_values(folders: Folders) -> dict[str, object]:
    # A service that the manager starts has not the command's environment, so the two folders are
    # written into it.
    return {
        "environment": [f"KEIJI_HOME={folders.home}", f"KEIJI_WORKSPACE={folders.workspace}"],
        "python": python(),
        "run": str(folders.run),
        "filed": folders.filed.exists(),
    }


def _render(name: str, **values: object) -> str:
    return rendering.render("units", name, filters=escape.FILTERS, **values)
