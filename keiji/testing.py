"""The host in memory: keeps what a manager would, for tests that need no real one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from keiji import files
from keiji.errors import BusUnavailable, HostFailed
from keiji.findings import MANAGER, OWN_UNITS, UNIT_FOLDER, Check, Finding, error
from keiji.folders import Folders
from keiji.host import Ending, LogLine, Span, Timer
from keiji.schedule import Schedule
from keiji.task import Task

NOON = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)


class MemoryHost:
    """A `Host` whose timers never elapse; runs are begun and ended by the test.

    `faults` maps a method's name to an error that its next call raises, once.
    `begin` is called by `start_run` with slug and run id, as a runner would begin.
    """

    name = "memory"

    def __init__(self, folders: Folders, begin: Callable[[str, str], None] | None = None) -> None:
        self.folders = folders
        self.begin = begin or (lambda slug, run: None)
        self.units: dict[str, bool] = {}  # installed slug → enabled
        self.armed: set[str] = set()
        self.deaf: set[str] = set()  # tasks whose timers never come to wait
        self.endings: dict[str, Ending] = {}
        self.logged: list[tuple[str, str, str]] = []
        self.faults: dict[str, Exception] = {}
        self.ills: list[Finding] = []  # what its own check finds
        self.loaded_ills: list[Finding] = []  # what its manager goes by
        self.reloads = 0
        self.strays: dict[str, float] = {}  # units that go by another clock than the machine's
        self.system: bool | None = None  # None: keiji's own units are not installed
        self.bus_runs = False
        self.bus_stays_down = False
        self._runs = 0

    def boot(self) -> str:
        return "boot-1"

    def check(self, schedule: Schedule) -> None:
        self._fault("check")

    def firing(self, schedule: Schedule, slug: str) -> dict[str, Any]:
        return {"HOST": self.name, "GUARD": "", "PERIOD": 0.0, "PHASE": 0.0, "CATCH_UP": False} | {
            "GRACE": 60.0,
            "LIMIT": 0.0,
        }

    def render(self, task: Task, command: list[str]) -> dict[Path, str]:
        self._fault("render")
        policy = task.schedule.policy
        zone = f"zone:{policy.timezone}\n" if policy.zone_is_default and task.schedule.needs_zone else ""
        return dict.fromkeys(self.unit_files(task.slug), f"{task.name} {task.schedule} {command}\n{zone}")

    def log_path(self, slug: str) -> str:
        return f"memory:{slug}"

    def unit_files(self, slug: str) -> list[Path]:
        return [self.folders.home / "units" / slug]

    def is_installed(self, slug: str) -> bool:
        return self.unit_files(slug)[0].exists()

    def installed(self) -> list[str]:
        folder = self.folders.home / "units"
        return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []

    def is_enabled(self, slug: str) -> bool:
        return self.units.get(slug, False)

    def set_enabled(self, slug: str, enabled: bool) -> None:
        self._fault("set_enabled")
        self.units[slug] = enabled

    def reload(self) -> None:
        self._fault("reload")
        self.reloads += 1

    def arm(self, slugs: Iterable[str], rested: Mapping[str, float] | None = None) -> list[str]:
        self._fault("arm")
        slugs = list(slugs)
        self.armed |= {
            slug for slug in slugs if slug not in self.deaf and not self.folders.held(slug).exists()
        }
        return [slug for slug in slugs if slug not in self.armed]

    def disarm(self, slugs: Iterable[str]) -> None:
        self._fault("disarm")
        self.armed -= set(slugs)

    def timers(self, slugs: Iterable[str]) -> dict[str, Timer]:
        return {
            slug: Timer(slug in self.armed, False, NOON if slug in self.armed else None) for slug in slugs
        }

    def idle(self, slugs: Iterable[str]) -> list[str]:
        return [slug for slug in slugs if slug not in self.armed]

    def coming(self, schedule: Schedule, slug: str, after: datetime, n: int) -> list[datetime]:
        return schedule.next_times(after, n, phase=timedelta(0))

    def zone_of(self, slug: str) -> str | None:
        text = files.read(self.unit_files(slug)[0]) or ""
        return text.partition("\nzone:")[2].strip() or None

    def forget_failure(self, slug: str) -> None:
        ending = self.endings.get(slug)
        if ending and not ending.is_active:
            self.endings[slug] = Ending(run=ending.run)

    def forget(self, slug: str) -> None:
        self.endings.pop(slug, None)
        self.units.pop(slug, None)

    def start_run(self, slug: str) -> str:
        self._fault("start_run")
        self._runs += 1
        run = f"{self._runs:032x}"
        self.endings[slug] = Ending(is_active=True, run=run)
        self.folders.requested(slug).unlink(missing_ok=True)
        self.begin(slug, run)
        return run

    def stop_run(self, slug: str) -> None:
        self._fault("stop_run")
        ending = self.endings.get(slug, Ending())
        self.endings[slug] = Ending(run=ending.run, result="timeout", by_signal=True, status=9)

    def end_remains(self, slug: str) -> None:
        pass

    def ending(self, slug: str) -> Ending:
        return self.endings.get(slug, Ending())

    def endings_of(self, slugs: Iterable[str]) -> dict[str, Ending]:
        return {slug: self.ending(slug) for slug in slugs}

    def failed(self) -> list[str]:
        return [slug for slug, ending in self.endings.items() if ending.result != "success"]

    def owner(self) -> str | None:
        return None

    def is_polled(self, slug: str) -> bool:
        return False

    def folders_used(self) -> list[Path]:
        return []

    def install_system(self) -> list[str]:
        if self.system is None:
            self.system = False
            return ["memory.target"]
        return []

    def remove_system(self) -> None:
        self.system = None
        self.bus_runs = self.bus_stays_down = False

    def start_system(self) -> tuple[list[str], list[str]]:
        self.system = True
        idle = self.arm([slug for slug, enabled in self.units.items() if enabled])
        return sorted(self.armed), [slug for slug in idle if not self.folders.held(slug).exists()]

    def stop_system(self) -> None:
        self.system = False
        self.armed.clear()

    def is_started(self) -> bool:
        return bool(self.system)

    def advice(self) -> list[str]:
        return []

    def by_hand(self, slug: str) -> str:
        return f"memory stop {slug}"

    def shown(self, slug: str) -> str:
        return f"memory show {slug}"

    def strayed(self) -> dict[str, float]:
        return dict(self.strays)

    def housekeeping(self) -> str:
        return "memory keep house"

    def checks(self) -> list[Check]:
        return [Check(MANAGER, self._ills), *(Check(name, lambda: ()) for name in (UNIT_FOLDER, OWN_UNITS))]

    def unit_findings(self, task: Task, command: list[str]) -> list[Finding]:
        found = {path: files.read(path) for path in self.unit_files(task.slug)}
        if found == self.render(task, command):
            return []
        return [error("its units are not what keiji writes now", "`keiji system update`", task.slug)]

    def loaded_findings(self, schedules: Mapping[str, Schedule]) -> list[Finding]:
        return self.loaded_ills

    def _ills(self) -> list[Finding]:
        self._fault("checks")
        return self.ills

    def start_bus(self) -> None:
        self._fault("start_bus")
        if self.system is None:
            raise BusUnavailable("the bus service is not installed: `keiji init` installs it")
        if self.bus_stays_down:
            raise BusUnavailable("the bus is stopped: `keiji system start --bus` starts it")
        self.bus_runs = True

    def stop_bus(self, stay: bool = False) -> bool:
        self._fault("stop_bus")
        ran, self.bus_runs = self.bus_runs, False
        self.bus_stays_down = self.bus_stays_down or stay
        return ran

    def allow_bus(self) -> bool:
        self._fault("allow_bus")
        was_down, self.bus_stays_down = self.bus_stays_down, False
        return was_down

    def is_bus_answering(self) -> bool:
        return self.bus_runs or (self.system is not None and not self.bus_stays_down)

    def bus_files(self) -> list[str]:
        return [] if self.system is None else ["memory.bus"]

    def bus_advice(self) -> list[str]:
        return []

    def log(self, slug: str, level: str, message: str) -> None:
        self.logged.append((slug, level, message))

    def task_log(self, slug: str, lines: int | None, span: Span | None = None) -> list[LogLine]:
        return [LogLine(NOON, level, message) for who, level, message in self.logged if who == slug]

    def run_log_after(self, slug: str, span: Span, cursor: str) -> list[LogLine]:
        return []

    def follow_task_log(self, slug: str, lines: int, span: Span | None = None) -> Iterator[LogLine]:
        return iter(self.task_log(slug, lines, span))

    def system_log(self, part: str, lines: int | None) -> list[LogLine]:
        return [LogLine(NOON, level, message) for _, level, message in self.logged]

    def follow_system_log(self, part: str, lines: int) -> Iterator[LogLine]:
        return iter(self.system_log(part, lines))

    def _fault(self, method: str) -> None:
        error = self.faults.pop(method, None)
        if error:
            raise error


def broken(reason: str = "the manager does not answer") -> HostFailed:
    """A fault to put into `MemoryHost.faults`."""
    return HostFailed(reason)
