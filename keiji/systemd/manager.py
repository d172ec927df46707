"""The `Host` over systemd's user manager."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from keiji import files
from keiji.errors import HostFailed, NotInitialised
from keiji.findings import Check, Finding
from keiji.folders import Folders
from keiji.host import Ending, Timer
from keiji.schedule import Schedule
from keiji.systemd import arming, bus_service, bus_unit, host_logs, names, systemctl
from keiji.systemd.host_logs import HostLogs
from keiji.task import Task

_START_PATIENCE = 15.0  # seconds until a run that was asked for must have an invocation
_STOP_PATIENCE = 90.0  # seconds; the units' own TimeoutStopSec= is 20


class SystemdHost(HostLogs):
    """systemd user timers and services; see `keiji.host.Host` for what each method promises.

    `ask_bus`: how a bus on a loopback socket is asked for its version and home; None: it is on the
    session bus.
    """

    name = "linux"

    def __init__(self, folders: Folders, ask_bus: bus_service.Ask | None = None) -> None:
        super().__init__(folders)
        self.ask_bus = ask_bus
        self._is_loopback = ask_bus is not None

    def boot(self) -> str:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()

    # -- translating ------------------------------------------------------------------------

    def check(self, schedule: Schedule) -> None:
        from keiji.systemd import calendar  # not at the top: a look needs none of it, and it takes a while

        calendar.check(schedule)
        if schedule.policy.memory or schedule.policy.cpu:
            calendar.check_limits(schedule.policy, _controllers())

    def firing(self, schedule: Schedule, slug: str) -> dict[str, Any]:
        from keiji.systemd import calendar

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
        from keiji.systemd import units

        folder = names.unit_folder()
        return {folder / name: text for name, text in units.render_task(self.folders, task, command).items()}

    # -- unit files -------------------------------------------------------------------------

    def unit_files(self, slug: str) -> list[Path]:
        return [names.unit_folder() / names.service(slug), names.unit_folder() / names.timer(slug)]

    def is_installed(self, slug: str) -> bool:
        return (names.unit_folder() / names.timer(slug)).exists()

    def installed(self) -> list[str]:
        return names.slugs(arming.listed(names.unit_folder()))

    def is_enabled(self, slug: str) -> bool:
        return names.starts(_wants(names.timer(slug)))

    def set_enabled(self, slug: str, enabled: bool) -> None:
        # What `systemctl --user enable` does, without its daemon-reload for each: the target learns
        # of the link by the one reload that begins `start_system`.
        _link(_wants(names.timer(slug)), enabled)

    def reload(self) -> None:
        systemctl.call("daemon-reload")

    # -- arming -----------------------------------------------------------------------------

    def arm(self, slugs: Iterable[str], rested: Mapping[str, float] | None = None) -> list[str]:
        slugs = list(slugs)
        if not slugs:
            return []
        arming.forgive_missed(self.folders, slugs, self.boot(), rested)
        systemctl.each(["start", "--"], [names.timer(slug) for slug in slugs], check=False)
        return arming.not_waiting(slugs)

    def disarm(self, slugs: Iterable[str]) -> None:
        loaded = systemctl.states([names.timer(slug) for slug in slugs], names.EVERY_TIMER)
        if loaded:
            systemctl.each(["stop", "--quiet", "--"], [*loaded], check=False)

    def timers(self, slugs: Iterable[str]) -> dict[str, Timer]:
        asked = {slug: names.timer(slug) for slug in slugs}
        elapses = systemctl.elapses([*asked.values()], names.EVERY_TIMER)
        # A timer that is active has no next time while what it has started goes on.
        without = [timer for timer, elapse in elapses.items() if elapse is None]
        states = systemctl.states(without, names.EVERY_TIMER)
        return {
            slug: _timer(elapses.get(timer), *states.get(timer, ("", ""))) for slug, timer in asked.items()
        }

    def idle(self, slugs: Iterable[str]) -> list[str]:
        return arming.not_waiting(list(slugs))

    def coming(self, schedule: Schedule, slug: str, after: datetime, n: int) -> list[datetime]:
        from keiji.systemd import calendar

        plan = calendar.plan(schedule, slug, after)
        if plan.every is None:
            return schedule.next_times(
                after, n, phase=timedelta(seconds=calendar.firing(schedule, slug).phase)
            )
        # A period that can't be a calendar event is counted from when the timer was armed.
        first = self.timers([slug])[slug].next_elapse or after + timedelta(seconds=plan.every)
        return [first.astimezone(after.tzinfo) + k * timedelta(seconds=plan.every) for k in range(n)]

    def zone_of(self, slug: str) -> str | None:
        return names.zone(files.read(names.unit_folder() / names.timer(slug)) or "")

    def is_polled(self, slug: str) -> bool:
        return arming.guard(names.unit_folder(), names.timer(slug)) == "period"

    def forget_failure(self, slug: str) -> None:
        systemctl.call("reset-failed", "--", names.service(slug), names.timer(slug), check=False)

    def forget(self, slug: str) -> None:
        from keiji.systemd import drop_ins

        self.forget_failure(slug)
        drop_ins.remove([names.service(slug), names.timer(slug)])
        (names.stamp_folder() / f"stamp-{names.timer(slug)}").unlink(missing_ok=True)

    # -- runs -------------------------------------------------------------------------------

    def start_run(self, slug: str) -> str:
        before = self.ending(slug).run
        systemctl.call("start", "--no-block", "--", names.service(slug))
        deadline = time.monotonic() + _START_PATIENCE
        while time.monotonic() < deadline:
            now = self.ending(slug)
            if now.run and now.run != before:
                return now.run
            if not now.is_active and not self.folders.requested(slug).exists():
                return ""  # begun and ended between two looks, and already unloaded
            time.sleep(0.01)
        raise HostFailed(f"systemd did not start {names.service(slug)} within {_START_PATIENCE:.0f} s")

    def stop_run(self, slug: str) -> None:
        # quietly: to warn that the timer can start it again takes systemctl 75 ms
        systemctl.call("stop", "--quiet", "--", names.service(slug), timeout=_STOP_PATIENCE)

    def end_remains(self, slug: str) -> None:
        """systemd ends whatever a unit has begun together with it."""

    def ending(self, slug: str) -> Ending:
        return self.endings_of([slug])[slug]

    def endings_of(self, slugs: Iterable[str]) -> dict[str, Ending]:
        asked = list(slugs)
        wanted = ("ActiveState", "InvocationID", "Result", "ExecMainCode", "ExecMainStatus")
        shown = systemctl.show_all([names.service(slug) for slug in asked], wanted)
        return {slug: _ending(unit) for slug, unit in zip(asked, shown, strict=True)}

    def failed(self) -> list[str]:
        listed = systemctl.call(
            "list-units", "--state=failed", "--plain", "--no-legend", "--full", "keiji-*.service"
        ).stdout
        services = [row.split()[0] for row in listed.splitlines() if row.split()]
        return [service[len("keiji-") : -len(".service")] for service in services]

    # -- the system -------------------------------------------------------------------------

    def owner(self) -> str | None:
        return names.other_owner(self.folders.home)

    def folders_used(self) -> list[Path]:
        return [names.enabled_target().parent, names.stamp_folder(), *bus_unit.folders()]

    def install_system(self) -> list[str]:
        from keiji.systemd import units

        host_logs.decide(self.folders)
        folder = names.unit_folder()
        folder.mkdir(parents=True, exist_ok=True)
        changed = []
        for name, text in units.render_own(self.folders).items():
            if files.read(folder / name) != text:
                files.write(folder / name, text, mode=0o644)
                changed.append(name)
        for link in names.own_links():
            _link(link, True)
        changed_bus = bus_unit.write_files(self.folders, self._is_loopback)
        if changed or changed_bus:
            self.reload()
        if changed_bus:
            bus_unit.told_of_files()
            bus_service.stop(stay=False)  # one that runs may be another installation's
        return [*changed, *changed_bus]

    def remove_system(self) -> None:
        from keiji.systemd import removal

        self.stop_system()
        left = removal.task_units()
        if left:
            systemctl.each(["stop", "--quiet", "--"], left, check=False)
        removal.remove_files(self.folders)
        self.reload()
        # Without their files these start no handler for each other any more.
        systemctl.call("stop", "--quiet", "--", "io.keiji.*", check=False)
        systemctl.call("reset-failed", "--", "io.keiji.*", *left, check=False)
        bus_unit.told_of_files()

    def start_system(self) -> tuple[list[str], list[str]]:
        if not (names.unit_folder() / names.TARGET).exists():
            raise NotInitialised("keiji's own units are not installed here: `keiji init` installs them")
        enabled = {slug for slug in self.installed() if self.is_enabled(slug)}
        arming.forgive_missed(self.folders, enabled, self.boot())
        self.reload()
        systemctl.call("start", names.TARGET)
        _link(names.enabled_target(), True)
        due = sorted(enabled - arming.listed(self.folders.run / "held"))
        idle = arming.not_waiting(due)
        self.tell_scheduler(f"started: {len(due) - len(idle)} tasks wait for their time")
        return [slug for slug in due if slug not in idle], idle

    def stop_system(self) -> None:
        _link(names.enabled_target(), False)
        if _target_states():
            systemctl.call("stop", names.TARGET)
            self.tell_scheduler("stopped: no task begins")

    def is_started(self) -> bool:
        return _target_states().get(names.TARGET, ("", ""))[0] == "active"

    def advice(self) -> list[str]:
        from keiji.systemd import checkup

        return [f"{it.message}; {it.remedy}" for it in checkup.lingering()]

    def by_hand(self, slug: str) -> str:
        return f"systemctl --user stop {names.timer(slug)} {names.service(slug)}"

    def shown(self, slug: str) -> str:
        return f"systemctl --user status keiji-{slug}"

    def strayed(self) -> dict[str, float]:
        return {}  # timers name their zones

    def housekeeping(self) -> str:
        return f"systemctl --user start {names.HOUSEKEEPING.removesuffix('timer')}service"

    # -- looking for faults -----------------------------------------------------------------

    def checks(self) -> list[Check]:
        from keiji.systemd import checkup

        return checkup.checks(self.folders, self.ask_bus)

    def unit_findings(self, task: Task, command: list[str]) -> list[Finding]:
        from keiji.systemd import unit_checkup

        return list(unit_checkup.of_task(self.folders, task, command))

    def loaded_findings(self, schedules: Mapping[str, Schedule]) -> list[Finding]:
        from keiji.systemd import loaded_checkup

        return list(loaded_checkup.findings(schedules))

    # -- the bus service --------------------------------------------------------------------

    def start_bus(self) -> None:
        bus_service.start(self._is_loopback, lambda n: self.system_log("bus", n))

    def stop_bus(self, stay: bool = False) -> bool:
        return bus_service.stop(stay)

    def allow_bus(self) -> bool:
        return bus_service.allow()

    def is_bus_answering(self) -> bool:
        return bus_service.is_answering(self.ask_bus)

    def bus_files(self) -> list[str]:
        return bus_service.used_files()

    def bus_advice(self) -> list[str]:
        return bus_unit.advice(self._is_loopback)


def _ending(shown: Mapping[str, str]) -> Ending:
    return Ending(
        is_active=shown.get("ActiveState") in ("activating", "active", "deactivating", "reloading"),
        run=shown.get("InvocationID", ""),
        result=shown.get("Result", ""),
        by_signal=shown.get("ExecMainCode") in ("2", "3"),  # CLD_KILLED, CLD_DUMPED
        status=int(shown.get("ExecMainStatus") or 0),
        is_stopping=shown.get("ActiveState") == "deactivating",
    )


def _timer(elapse: datetime | None, active: str, sub: str) -> Timer:
    return Timer(elapse is not None or active == "active", sub == "running", elapse)


def _target_states() -> dict[str, tuple[str, str]]:
    return systemctl.states([names.TARGET], names.TARGET)


def _wants(name: str) -> Path:
    return names.wanted_folder() / name


def _link(link: Path, wanted: bool) -> None:
    if not wanted:
        link.unlink(missing_ok=True)
    elif not names.starts(link):
        link.parent.mkdir(parents=True, exist_ok=True)
        files.link(link, f"../{link.name}")


def _controllers() -> set[str]:
    """The resource controllers that the user manager may use."""
    group = systemctl.call("show", "--property=ControlGroup", "--value").stdout.strip()
    path = Path("/sys/fs/cgroup") / group.lstrip("/") / "cgroup.controllers"
    return set((files.read(path) or "").split())
