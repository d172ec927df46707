"""The `Host` over systemd's user manager."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from keiji import files
from keiji.errors import HostFailed
from keiji.folders import Folders
from keiji.host import Ending, LogLine, Span, Timer
from keiji.schedule import Schedule
from keiji.systemd import calendar, journal, systemctl, units
from keiji.task import Task

_START_PATIENCE = 15.0  # seconds until a run that was asked for must have an invocation
_STOP_PATIENCE = 90.0  # seconds; the units' own TimeoutStopSec= is 20


class SystemdHost:
    """systemd user timers and services; see `keiji.host.Host` for what each method promises."""

    name = "linux"

    def __init__(self, folders: Folders) -> None:
        self.folders = folders

    def boot(self) -> str:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()

    # -- translating ------------------------------------------------------------------------

    def check(self, schedule: Schedule) -> None:
        calendar.check(schedule)
        if schedule.policy.memory or schedule.policy.cpu:
            calendar.check_limits(schedule.policy, _controllers())

    def firing(self, schedule: Schedule, slug: str) -> dict[str, Any]:
        firing = calendar.firing(schedule, slug)
        return {
            "HOST": self.name,
            "GUARD": firing.guard,
            "PERIOD": firing.period,
            "PHASE": firing.phase,
            "CATCH_UP": firing.catch_up,
            "GRACE": firing.grace,
            "LIMIT": firing.limit,
        }

    def render(self, task: Task, command: list[str]) -> dict[Path, str]:
        folder = units.unit_folder()
        return {folder / name: text for name, text in units.render_task(self.folders, task, command).items()}

    def log_path(self, slug: str) -> str:
        return f"journal:{units.service(slug)}"

    # -- unit files -------------------------------------------------------------------------

    def unit_files(self, slug: str) -> list[Path]:
        return [units.unit_folder() / units.service(slug), units.unit_folder() / units.timer(slug)]

    def is_installed(self, slug: str) -> bool:
        return (units.unit_folder() / units.timer(slug)).exists()

    def installed(self) -> list[str]:
        return sorted(
            path.name[len("keiji-") : -len(".timer")] for path in units.unit_folder().glob("keiji-*.timer")
        )

    def is_enabled(self, slug: str) -> bool:
        return _wants(units.timer(slug)).is_symlink()

    def set_enabled(self, slug: str, enabled: bool) -> None:
        # What `systemctl --user enable` does, without its daemon-reload for each: the target learns
        # of the link by the one reload that begins `start_system`.
        _link(_wants(units.timer(slug)), enabled)

    def reload(self) -> None:
        systemctl.call("daemon-reload")

    # -- arming -----------------------------------------------------------------------------

    def arm(self, slugs: Iterable[str]) -> None:
        slugs = list(slugs)
        for slug in slugs:
            self._nothing_missed(slug)
        names = [units.timer(slug) for slug in slugs]
        if names:
            systemctl.each(["start", "--"], names)
            self._check_waiting(slugs)

    def disarm(self, slugs: Iterable[str]) -> None:
        names = list(systemctl.states([units.timer(slug) for slug in slugs], units.EVERY_TIMER))
        if names:
            systemctl.each(["stop", "--quiet", "--"], names, check=False)

    def timers(self, slugs: Iterable[str]) -> dict[str, Timer]:
        names = {slug: units.timer(slug) for slug in slugs}
        elapses = systemctl.elapses([*names.values()], units.EVERY_TIMER)
        # A timer that is active has no next time while what it has started goes on.
        without = [name for name, elapse in elapses.items() if elapse is None]
        states = systemctl.states(without, units.EVERY_TIMER)
        return {slug: _timer(elapses.get(name), *states.get(name, ("", ""))) for slug, name in names.items()}

    def coming(self, schedule: Schedule, slug: str, after: datetime, n: int) -> list[datetime]:
        plan = calendar.plan(schedule, slug, after)
        if plan.every is None:
            return schedule.next_times(
                after, n, phase=timedelta(seconds=calendar.firing(schedule, slug).phase)
            )
        # A period that can't be a calendar event is counted from when the timer was armed.
        first = self.timers([slug])[slug].next_elapse or after + timedelta(seconds=plan.every)
        return [first.astimezone(after.tzinfo) + k * timedelta(seconds=plan.every) for k in range(n)]

    def forget_failure(self, slug: str) -> None:
        systemctl.call("reset-failed", "--", units.service(slug), units.timer(slug), check=False)

    def forget(self, slug: str) -> None:
        self.forget_failure(slug)
        (units.stamp_folder() / f"stamp-{units.timer(slug)}").unlink(missing_ok=True)

    def _nothing_missed(self, slug: str) -> None:
        """Deliberate arming is no missed run: a persistent timer fires at once when its stamp is older
        than a due time, and the runner's guards go by their own note of what was last due."""
        stamp = units.stamp_folder() / f"stamp-{units.timer(slug)}"
        if stamp.exists():
            os.utime(stamp)
        guard = self._guard(slug)
        if guard:
            self.folders.last(slug).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            note = self.boot() if guard == "boot" else f"{time.time():.6f}"
            files.write(self.folders.last(slug), note + "\n")

    def _guard(self, slug: str) -> str:
        """What the runner checks by its own note, from the timer's file: ``boot``, ``period`` or ``""``."""
        text = files.read(units.unit_folder() / units.timer(slug)) or ""
        return text.partition("\nGuard=")[2].partition("\n")[0]

    def _check_waiting(self, slugs: list[str]) -> None:
        states = systemctl.states([units.timer(slug) for slug in slugs], units.EVERY_TIMER)
        idle = [slug for slug in slugs if not self._waits(slug, *states.get(units.timer(slug), ("", "")))]
        if idle:
            raise HostFailed(
                f"systemd took the timer of {', '.join(idle[:5])} but it waits for no time; "
                f"see `systemctl --user status {units.timer(idle[0])}`"
            )

    def _waits(self, slug: str, active: str, sub: str) -> bool:
        # an active timer that has no next time is "elapsed"
        return active == "active" and (sub in ("waiting", "running") or self._guard(slug) == "boot")

    # -- runs -------------------------------------------------------------------------------

    def start_run(self, slug: str) -> str:
        before = self.ending(slug).run
        systemctl.call("start", "--no-block", "--", units.service(slug))
        deadline = time.monotonic() + _START_PATIENCE
        while time.monotonic() < deadline:
            now = self.ending(slug)
            if now.run and now.run != before:
                return now.run
            if not now.is_active and not self.folders.requested(slug).exists():
                return ""  # begun and ended between two looks, and already unloaded
            time.sleep(0.01)
        raise HostFailed(f"systemd did not start {units.service(slug)} within {_START_PATIENCE:.0f} s")

    def stop_run(self, slug: str) -> None:
        # quietly: to warn that the timer can start it again takes systemctl 75 ms
        systemctl.call("stop", "--quiet", "--", units.service(slug), timeout=_STOP_PATIENCE)

    def ending(self, slug: str) -> Ending:
        wanted = ("ActiveState", "InvocationID", "Result", "ExecMainCode", "ExecMainStatus")
        shown = systemctl.show(units.service(slug), wanted)
        return Ending(
            is_active=shown.get("ActiveState") in ("activating", "active", "deactivating", "reloading"),
            run=shown.get("InvocationID", ""),
            result=shown.get("Result", ""),
            by_signal=shown.get("ExecMainCode") in ("2", "3"),  # CLD_KILLED, CLD_DUMPED
            status=int(shown.get("ExecMainStatus") or 0),
        )

    def failed(self) -> list[str]:
        listed = systemctl.call(
            "list-units", "--state=failed", "--plain", "--no-legend", "--full", "keiji-*.service"
        ).stdout
        names = [row.split()[0] for row in listed.splitlines() if row.split()]
        return [name[len("keiji-") : -len(".service")] for name in names]

    # -- the system -------------------------------------------------------------------------

    def install_system(self) -> list[str]:
        folder = units.unit_folder()
        folder.mkdir(parents=True, exist_ok=True)
        changed = []
        for name, text in units.render_own(self.folders).items():
            if files.read(folder / name) != text:
                files.write(folder / name, text, mode=0o644)
                changed.append(name)
        for name in (units.HOUSEKEEPING, units.STARTUP):
            _link(_wants(name), True)
        if changed:
            self.reload()
        return changed

    def remove_system(self) -> None:
        self.stop_system()
        folder = units.unit_folder()
        for name in units.render_own(self.folders):
            (folder / name).unlink(missing_ok=True)
            _link(_wants(name), False)
        for wants in (folder / f"{units.TARGET}.wants", folder / "default.target.wants"):
            if wants.is_dir() and not any(wants.iterdir()):
                wants.rmdir()
        (units.stamp_folder() / f"stamp-{units.HOUSEKEEPING}").unlink(missing_ok=True)
        self.reload()

    def start_system(self) -> None:
        enabled = [slug for slug in self.installed() if self.is_enabled(slug)]
        for slug in enabled:
            self._nothing_missed(slug)
        self.reload()
        systemctl.call("start", units.TARGET)
        _link(_enabled_target(), True)
        self._check_waiting([slug for slug in enabled if not self.folders.held(slug).exists()])

    def stop_system(self) -> None:
        _link(_enabled_target(), False)
        if _target_states():
            systemctl.call("stop", units.TARGET)

    def is_started(self) -> bool:
        return _target_states().get(units.TARGET, ("", ""))[0] == "active"

    def advice(self) -> list[str]:
        from keiji.systemd.advice import notes

        return notes()

    # -- logs -------------------------------------------------------------------------------

    def log(self, slug: str, level: str, message: str) -> None:
        tied = [("USER_UNIT", units.service(slug)), ("USER_UNIT", units.TARGET), ("KEIJI_TASK", slug)]
        journal.write(message, 3 if level == "ERROR" else 6, tied)

    def task_log(self, slug: str, lines: int | None, span: Span | None = None) -> list[LogLine]:
        if span:
            found = journal.read_run(slug, span)
            return found if lines is None else found[len(found) - min(lines, len(found)) :]
        return journal.read(journal.task_matches(slug), lines)

    def run_log_after(self, slug: str, span: Span, cursor: str) -> list[LogLine]:
        return journal.read_run(slug, span, cursor)

    def follow_task_log(self, slug: str, lines: int, span: Span | None = None) -> Iterator[LogLine]:
        return journal.follow(journal.task_matches(slug), lines, span)

    def system_log(self, part: str, lines: int | None) -> list[LogLine]:
        return journal.read(_system_matches(part), lines)

    def follow_system_log(self, part: str, lines: int) -> Iterator[LogLine]:
        return journal.follow(_system_matches(part), lines)


def _timer(elapse: datetime | None, active: str, sub: str) -> Timer:
    return Timer(elapse is not None or active == "active", sub == "running", elapse)


def _target_states() -> dict[str, tuple[str, str]]:
    return systemctl.states([units.TARGET], units.TARGET)


def _wants(name: str) -> Path:
    return units.unit_folder() / f"{units.TARGET}.wants" / name


def _enabled_target() -> Path:
    return units.unit_folder() / "default.target.wants" / units.TARGET


def _link(link: Path, wanted: bool) -> None:
    if not wanted:
        link.unlink(missing_ok=True)
    elif not link.is_symlink():
        link.parent.mkdir(parents=True, exist_ok=True)
        files.link(link, f"../{link.name}")


def _controllers() -> set[str]:
    """The resource controllers that the user manager may use."""
    group = systemctl.call("show", "--property=ControlGroup", "--value").stdout.strip()
    path = Path("/sys/fs/cgroup") / group.lstrip("/") / "cgroup.controllers"
    return set((files.read(path) or "").split())


def _system_matches(part: str) -> list[str]:
    if part == "bus":
        return ["--user-unit=io.keiji.Bus1.service"]
    return [f"--user-unit={units.TARGET}", "--user-unit=keiji-*.timer"]
