"""The `Host` over launchd, by `launchctl`."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from keiji.errors import BusUnavailable, HostFailed
from keiji.findings import Check, Finding
from keiji.folders import Folders
from keiji.host import Ending, Timer
from keiji.launchd import arming, invoking, launchctl, loading, names, own, runs
from keiji.logfiles import LogFiles
from keiji.schedule import Schedule
from keiji.task import Task


class LaunchdHost(LogFiles):
    """launchd agents; see `keiji.host.Host` for what each method promises.

    `ask_bus`: whether the bus service answers, asked of itself. `choose_port`: have ``run/bus.json`` name a
    port for it, if it doesn't yet.
    """

    name = "macos"

    def __init__(
        self,
        folders: Folders,
        ask_bus: Callable[[], object] | None = None,
        choose_port: Callable[[], object] | None = None,
    ) -> None:
        super().__init__(folders)
        self.ask_bus = ask_bus
        self.choose_port = choose_port

    def boot(self) -> str:
        with suppress(OSError):  # where keiji only acts as macOS
            return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return subprocess.check_output(
            ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"], encoding="ascii"
        ).strip()

    # -- translating ------------------------------------------------------------------------

    def check(self, schedule: Schedule) -> None:
        from keiji.launchd import calendar

        calendar.check(schedule)

    def firing(self, schedule: Schedule, slug: str) -> dict[str, Any]:
        from keiji.launchd import calendar

        return calendar.firing(schedule, slug)

    def render(self, task: Task, command: list[str]) -> dict[Path, str]:
        from keiji.launchd import plists

        texts = plists.render_task(task, command)
        return {names.agent_folder() / name: text for name, text in texts.items()}

    # -- agents' files ----------------------------------------------------------------------

    def unit_files(self, slug: str) -> list[Path]:
        return [names.plist(names.task(slug))]

    def is_installed(self, slug: str) -> bool:
        return names.plist(names.task(slug)).exists()

    def installed(self) -> list[str]:
        return arming.installed()

    def is_enabled(self, slug: str) -> bool:
        return own.is_enabled(self.folders, slug)

    def set_enabled(self, slug: str, enabled: bool) -> None:
        arming.mark(self._disabled(slug), not enabled)
        # launchd loads at login whatever lies there and is not switched off.
        loading.switch(names.task(slug), enabled and own.is_to_run(self.folders))

    def reload(self) -> None:
        """launchd reads a plist when it loads it, and `arm` sees to that."""

    # -- arming -----------------------------------------------------------------------------

    def arm(self, slugs: Iterable[str], rested: Mapping[str, float] | None = None) -> list[str]:
        return arming.arm(self.folders, slugs, self.boot(), rested or {})

    def disarm(self, slugs: Iterable[str]) -> None:
        arming.disarm(self.folders, slugs)

    def timers(self, slugs: Iterable[str]) -> dict[str, Timer]:
        return arming.timers(self.folders, slugs)

    def idle(self, slugs: Iterable[str]) -> list[str]:
        return [slug for slug, timer in self.timers(slugs).items() if not timer.is_active]

    def coming(self, schedule: Schedule, slug: str, after: datetime, n: int) -> list[datetime]:
        return arming.coming(schedule, slug, after, n)

    def zone_of(self, slug: str) -> str | None:
        words = arming.read(names.plist(names.task(slug))).get("ProgramArguments", [])
        return words[words.index("--zone") + 1] if "--zone" in words[:-1] else None

    def is_polled(self, slug: str) -> bool:
        return False  # its next time is the schedule's, however often launchd looks

    def forget_failure(self, slug: str) -> None:
        """launchd goes by no failure."""

    def forget(self, slug: str) -> None:
        for label in (names.task(slug), names.once(slug)):
            loading.unload(label)
            loading.taken(self.folders, label).unlink(missing_ok=True)
        # An override would keep a task of the same name from being loaded.
        loading.switch(names.task(slug), True)
        waiting = arming.state(self.folders, "waiting", slug)
        once = invoking.once_plist(self.folders, slug)
        for path in (self._disabled(slug), self._resting(slug), waiting, once):
            path.unlink(missing_ok=True)

    # -- runs -------------------------------------------------------------------------------

    def start_run(self, slug: str) -> str:
        return invoking.start(self.folders, slug, self.boot())

    def stop_run(self, slug: str) -> None:
        invoking.stop(self.folders, slug)

    def ending(self, slug: str) -> Ending:
        return self.endings_of([slug])[slug]

    def endings_of(self, slugs: Iterable[str]) -> dict[str, Ending]:
        boot = self.boot()
        return {slug: runs.ending(self.folders, slug, boot) for slug in slugs}

    def failed(self) -> list[str]:
        """Those whose run is gone, or came to none, without a word; what the runner could say it has said."""
        slugs = runs.suspects(self.folders)
        return [slug for slug, ending in self.endings_of(slugs).items() if ending.result != "success"]

    def end_remains(self, slug: str) -> None:
        runs.end_remains(self.folders, slug)

    # -- the system -------------------------------------------------------------------------

    def owner(self) -> str | None:
        said = arming.read(names.plist(names.HOUSEKEEPING)).get("EnvironmentVariables", {})
        other = said.get("KEIJI_HOME", "")
        return other if other and other != str(self.folders.home) and Path(other).is_dir() else None

    def folders_used(self) -> list[Path]:
        return [names.agent_folder()]

    def install_system(self) -> list[str]:
        return own.install(self.folders, self.choose_port)

    def remove_system(self) -> None:
        own.remove(self.folders, self.tell)

    def start_system(self) -> tuple[list[str], list[str]]:
        return own.start(self.folders, self.boot(), self.tell)

    def stop_system(self) -> None:
        own.stop(self.folders, self.tell)

    def is_started(self) -> bool:
        return own.is_to_run(self.folders) and launchctl.find(names.HOUSEKEEPING) is not None

    def advice(self) -> list[str]:
        from keiji.launchd import checkup

        found = [f"{closed.message}: {closed.remedy}" for closed in checkup.closed(self.folders)]
        if not launchctl.domain().startswith("gui/"):
            found.append(
                "nobody is logged in at the screen: agents are loaded for this login only, and come back "
                "after a reboot when you log in there; log in at the screen and run `keiji system start`"
            )
        return found

    def by_hand(self, slug: str) -> str:
        return f"launchctl bootout {launchctl.target(launchctl.domain(), names.task(slug))}"

    def shown(self, slug: str) -> str:
        return f"launchctl print {launchctl.target(launchctl.domain(), names.task(slug))}"

    def strayed(self) -> dict[str, float]:
        return arming.strayed(self.folders)

    def housekeeping(self) -> str:
        where = launchctl.domains()[0]
        with suppress(HostFailed):  # the doctor names it where launchd can't be asked, too
            where = launchctl.domain()
        return f"launchctl kickstart {launchctl.target(where, names.HOUSEKEEPING)}"

    # -- looking for faults -----------------------------------------------------------------

    def checks(self) -> list[Check]:
        from keiji.launchd import checkup

        return checkup.checks(self.folders, own.wanted(self.folders), self.ask_bus)

    def unit_findings(self, task: Task, command: list[str]) -> list[Finding]:
        from keiji.launchd import checkup

        return list(checkup.of_task(task, self.render(task, command), self.housekeeping()))

    def loaded_findings(self, schedules: Mapping[str, Schedule]) -> list[Finding]:
        from keiji.launchd import checkup

        return list(checkup.loaded(self.folders, schedules))

    # -- the bus service --------------------------------------------------------------------

    def start_bus(self) -> None:
        if own.is_kept_down(names.BUS):
            part = " --bus" if own.is_to_run(self.folders) else ""
            raise BusUnavailable(f"the bus is stopped: `keiji system start{part}` starts it")
        try:
            if not launchctl.find(names.BUS):
                loading.load(self.folders, names.BUS)
            job = launchctl.find(names.BUS)
            if job:
                arming.kickstart(job)
        except HostFailed as problem:
            raise BusUnavailable(problem.message) from None

    def stop_bus(self, stay: bool = False) -> bool:
        try:
            job = launchctl.find(names.BUS)
            ran = job is not None and job.pid is not None
            if stay:
                loading.switch(names.BUS, False)
                loading.unload(names.BUS, own.BUS_PATIENCE)
            elif job and job.pid:
                invoking.kill(job, "SIGTERM")
                if not invoking.is_over(self.folders, "", names.BUS, job.pid, False, own.BUS_PATIENCE):
                    raise BusUnavailable(f"the bus (process {job.pid}) does not end")
        except HostFailed as problem:
            raise BusUnavailable(problem.message) from None
        return ran

    def allow_bus(self) -> bool:
        is_there = launchctl.find(names.BUS) or not names.plist(names.BUS).exists()
        if is_there and not own.is_kept_down(names.BUS):
            return False
        loading.switch(names.BUS, True)
        loading.load(self.folders, names.BUS)
        return True

    def is_bus_answering(self) -> bool:
        job = launchctl.find(names.BUS)  # launchd holds the socket, and starts it for who connects
        if job is None:
            return False
        return job.pid is None or self.ask_bus is None or self.ask_bus() is not None

    def bus_files(self) -> list[str]:
        path = names.plist(names.BUS)
        return [str(path)] if path.exists() else []

    def bus_advice(self) -> list[str]:
        return []

    # -- parts ------------------------------------------------------------------------------

    def _disabled(self, slug: str) -> Path:
        return arming.state(self.folders, "disabled", slug)

    def _resting(self, slug: str) -> Path:
        return arming.state(self.folders, "resting", slug)
