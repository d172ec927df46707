"""The `Host` over launchd, by `launchctl`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from keiji import files, running
from keiji.errors import BusUnavailable, HostFailed, NotInitialised
from keiji.findings import Check, Finding
from keiji.folders import Folders
from keiji.host import Ending, Timer
from keiji.launchd import arming, launchctl, loading, names, runs
from keiji.logfiles import SCHEDULER, LogFiles
from keiji.schedule import Schedule
from keiji.task import Task

_START_PATIENCE = 15.0  # seconds; launchd starts no agent twice within ten
_STOP_PATIENCE = 22.0  # seconds until a run that is deaf to SIGTERM is killed
_KILL_PATIENCE = 5.0
_BUS_PATIENCE = 150.0  # it finishes what is in flight
_TELLING = 1.0  # seconds in which a runner that took a request tells of its run
_ASK_AGAIN = 0.3
_LOOK = 0.05
_OWN = (names.HOUSEKEEPING, names.STARTUP)
_WRITTEN = "<!-- Written by keiji."


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
        return self.is_installed(slug) and not self._disabled(slug).exists()

    def set_enabled(self, slug: str, enabled: bool) -> None:
        arming.mark(self._disabled(slug), not enabled)
        # launchd loads at login whatever lies there and is not switched off.
        loading.switch(names.task(slug), enabled and self._is_to_run())

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
        for path in (self._disabled(slug), self._resting(slug), self._once(slug)):
            path.unlink(missing_ok=True)

    # -- runs -------------------------------------------------------------------------------

    def start_run(self, slug: str) -> str:
        known = {self._entry_id(slug), *(path.name for path in self._done())}
        failed_before = runs.ending(self.folders, slug, self.boot()).run
        self._start(slug)
        asked = taken = time.monotonic()
        deadline = asked + _START_PATIENCE
        while (now := time.monotonic()) < deadline:
            if run := self._begun_since(slug, known):
                return run
            failed = runs.ending(self.folders, slug, self.boot())
            if failed.result != "success" and failed.run not in {failed_before, *known}:
                self._judge_soon()
                return failed.run
            if self.folders.requested(slug).exists():
                taken = now
                if now - asked > _ASK_AGAIN:
                    asked = now
                    self._ask_again(slug)
            elif now - taken > _TELLING:
                return ""
            time.sleep(_LOOK)
        raise HostFailed(f"launchd did not start {names.task(slug)} within {_START_PATIENCE:.0f} s")

    def _judge_soon(self) -> None:
        """Have housekeeping record a run that could not be started, and hold its task."""
        with suppress(HostFailed):
            if job := launchctl.find(names.HOUSEKEEPING):
                arming.kickstart(job)

    def stop_run(self, slug: str) -> None:
        entry = running.running_entry(self.folders, slug)
        for label in (names.task(slug), names.once(slug)):
            job = launchctl.find(label)
            if job is None or job.pid is None:
                continue
            is_loop = label == names.task(slug) and arming.is_resident(slug)
            if is_loop and (entry is None or not running.is_alive(entry)):
                continue  # it waits for its next time
            # A resident runner ends the run by itself, kills it where it must, and goes on.
            self._kill(job, "SIGUSR1" if is_loop else "SIGTERM")
            if self._is_over(slug, label, job.pid, is_loop, _STOP_PATIENCE):
                continue
            if is_loop and entry:
                with suppress(OSError):
                    os.kill(entry.pid, signal.SIGKILL)
            else:
                self._kill(job, "SIGKILL")
            if not self._is_over(slug, label, job.pid, is_loop, _KILL_PATIENCE):
                raise HostFailed(f"the run of {label} (process {job.pid}) does not end")
        if entry and not running.is_alive(entry):
            self.end_remains(slug)
        if not self._resting(slug).exists():
            arming.make_up_for_firing(self.folders, slug)

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
        names.agent_folder().mkdir(parents=True, exist_ok=True)
        changed = []
        if self.choose_port:
            self.choose_port()
        for name, text in self._wanted().items():
            path, label = names.agent_folder() / name, name[: -len(".plist")]
            is_wanted = label == names.BUS or self._is_to_run()
            if files.read(path) != text:
                loading.unload(label, _BUS_PATIENCE if label == names.BUS else 20)
                files.write(path, text, mode=0o644)
                loading.switch(label, is_wanted)
                changed.append(name)
            if is_wanted and not launchctl.find(label) and not self._is_kept_down(label):
                loading.load(self.folders, label)
        return changed

    def remove_system(self) -> None:
        self.stop_system()
        written = {
            path.stem: path for path in names.agent_folder().glob("io.keiji.*.plist") if _is_ours(path)
        }
        overrides = [name for name in launchctl.disabled(launchctl.domain()) if name.startswith("io.keiji.")]
        for label in {*written, *launchctl.loaded()}:
            loading.unload(label, _BUS_PATIENCE if label == names.BUS else 20)
        for path in written.values():
            path.unlink(missing_ok=True)
        for label in {*written, *overrides}:
            loading.switch(label, True)  # launchd has no other way to forget

    def start_system(self) -> tuple[list[str], list[str]]:
        if not names.plist(names.HOUSEKEEPING).exists():
            raise NotInitialised("keiji's own agents are not installed here: `keiji init` installs them")
        arming.mark(self._started(), True)
        for label in _OWN:
            loading.switch(label, True)
            if not launchctl.find(label):
                loading.load(self.folders, label)
        enabled = [slug for slug in self.installed() if self.is_enabled(slug)]
        for slug in enabled:
            loading.switch(names.task(slug), True)
        due = [slug for slug in enabled if not self.folders.held(slug).exists()]
        self.arm(due)
        idle = self.idle(due)
        self.tell(SCHEDULER, "INFO", f"started: {len(due) - len(idle)} tasks wait for their time")
        return [slug for slug in due if slug not in idle], idle

    def stop_system(self) -> None:
        if self._is_to_run():
            self.tell(SCHEDULER, "INFO", "stopped: no task begins")
        arming.mark(self._started(), False)
        slugs = self.installed()
        for label in (*map(names.task, slugs), *_OWN):
            loading.switch(label, False)
        self.disarm(slugs)
        for label in _OWN:
            if os.environ.get("XPC_SERVICE_NAME") != label:
                loading.unload(label)

    def is_started(self) -> bool:
        return self._is_to_run() and launchctl.find(names.HOUSEKEEPING) is not None

    def advice(self) -> list[str]:
        if launchctl.domain().startswith("gui/"):
            return []
        return [
            "nobody is logged in at the screen: agents are loaded for this login only, and come back after a "
            "reboot when you log in there; log in at the screen and run `keiji system start`"
        ]

    def by_hand(self, slug: str) -> str:
        return f"launchctl bootout {launchctl.target(launchctl.domain(), names.task(slug))}"

    def shown(self, slug: str) -> str:
        return f"launchctl print {launchctl.target(launchctl.domain(), names.task(slug))}"

    def strayed(self) -> dict[str, float]:
        return arming.strayed(self.folders)

    def housekeeping(self) -> str:
        return f"launchctl kickstart {launchctl.target(launchctl.domain(), names.HOUSEKEEPING)}"

    # -- looking for faults -----------------------------------------------------------------

    def checks(self) -> list[Check]:
        from keiji.launchd import checkup

        return checkup.checks(self.folders, self._wanted())

    def unit_findings(self, task: Task, command: list[str]) -> list[Finding]:
        from keiji.launchd import checkup

        return list(checkup.of_task(task, self.render(task, command), self.housekeeping()))

    def loaded_findings(self, schedules: Mapping[str, Schedule]) -> list[Finding]:
        from keiji.launchd import checkup

        return list(checkup.loaded(self.folders, schedules))

    # -- the bus service --------------------------------------------------------------------

    def start_bus(self) -> None:
        if self._is_kept_down(names.BUS):
            raise BusUnavailable("the bus is kept down: `keiji system start --bus` lifts that")
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
                loading.unload(names.BUS, _BUS_PATIENCE)
            elif job and job.pid:
                self._kill(job, "SIGTERM")
                if not self._is_over("", names.BUS, job.pid, False, _BUS_PATIENCE):
                    raise BusUnavailable(f"the bus (process {job.pid}) does not end")
        except HostFailed as problem:
            raise BusUnavailable(problem.message) from None
        return ran

    def allow_bus(self) -> bool:
        if not self._is_kept_down(names.BUS):
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

    def _once(self, slug: str) -> Path:
        return arming.state(self.folders, "once", f"{names.once(slug)}.plist")

    def _started(self) -> Path:
        return arming.state(self.folders, "started")

    def _is_to_run(self) -> bool:
        return self._started().exists()

    def _is_kept_down(self, label: str) -> bool:
        return launchctl.disabled(launchctl.domain()).get(label, False)

    def _wanted(self) -> dict[str, str]:
        """keiji's own agents; the bus as soon as it has a port."""
        from keiji.launchd import plists

        texts = plists.render_own(self.folders)
        port = _port(self.folders)
        return {**texts, f"{names.BUS}.plist": plists.render_bus(self.folders, port)} if port else texts

    def _start(self, slug: str) -> None:
        """Ask the task's own agent for a run, or one for this run where that can't be asked."""
        from keiji.launchd import plists

        job = launchctl.find(names.task(slug))
        if job and arming.is_resident(slug):
            if job.pid is not None and not self._resting(slug).exists():
                return None  # it sees the request by itself
        elif job:
            return arming.kickstart(job)
        text = files.read(names.plist(names.task(slug)))
        if text is None:
            raise HostFailed(
                f"{names.plist(names.task(slug))} is gone: `keiji system update` writes it again"
            )
        label, path = names.once(slug), self._once(slug)
        loading.unload(label)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.write(path, plists.once_of(text, label))
        loading.load(self.folders, label, path)
        asked = launchctl.find(label)
        if asked is None:
            raise HostFailed(f"launchd has lost the agent {label}")
        return arming.kickstart(asked)

    def _entry_id(self, slug: str) -> str:
        entry = running.running_entry(self.folders, slug)
        return entry.id if entry else ""

    def _done(self) -> Iterator[Path]:
        return self.folders.done.iterdir() if self.folders.done.is_dir() else iter(())

    def _begun_since(self, slug: str, known: set[str]) -> str:
        """The run of the task that was not known before; it may have ended between two looks."""
        if (run := self._entry_id(slug)) not in known:
            return run
        for path in self._done():
            if path.name not in known and f"\ntask={slug}\n" in (files.read(path) or ""):
                return path.name
        return ""

    def _ask_again(self, slug: str) -> None:
        """launchd drops what is asked for while the process before is ending."""
        job = launchctl.find(names.task(slug))
        if job and job.pid is None:
            arming.kickstart(job)

    def _kill(self, job: launchctl.Job, name: str) -> None:
        done = launchctl.call("kill", name, job.target)
        if done.returncode not in {0} | launchctl.GONE:
            raise HostFailed(f"launchctl kill {name} {job.target}: {launchctl.reason(done)}")

    def _is_over(self, slug: str, label: str, pid: int, is_loop: bool, patience: float) -> bool:
        """Whether the run, or where it is no resident one the process, ends within that time."""
        before = self._entry_id(slug) if is_loop else ""
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if is_loop:
                if self._entry_id(slug) != before or not arming.is_running(self.folders, slug):
                    return True
            else:
                job = launchctl.find(label)
                if job is None or job.pid != pid:
                    return True
            time.sleep(_LOOK)
        return False


def _is_ours(path: Path) -> bool:
    return _WRITTEN in (files.read(path) or "")


def _port(folders: Folders) -> int:
    """The bus's port; 0 before it has one."""
    try:
        return int(json.loads(files.read(folders.run / "bus.json") or "{}").get("port", 0))
    except (ValueError, AttributeError, TypeError):
        return 0
