"""What keiji needs of an operating system, and the values it answers with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from keiji.findings import Check, Finding
    from keiji.schedule import Schedule
    from keiji.task import Task


@dataclass(frozen=True)
class Timer:
    """What the manager knows of a task's timer: is it waiting, and until when.

    While it `is_firing` (the run that it began goes on) the manager has not reckoned the next time.
    """

    is_active: bool = False
    is_firing: bool = False
    next_elapse: datetime | None = None


@dataclass(frozen=True)
class Ending:
    """What the manager knows of a task's last run.

    `run` is its id, or empty when the manager never started one; one that `is_stopping` is active still.
    `result` is the manager's word (systemd: ``success``, ``exit-code``, ``signal``, ``timeout``,
    ``resources``, …); `status` is an exit status, or a signal's number when `by_signal`.
    """

    is_active: bool = False
    run: str = ""
    result: str = "success"
    by_signal: bool = False
    status: int = 0
    is_stopping: bool = False


@dataclass(frozen=True)
class LogLine:
    """One line of a log: when, how loud (INFO or ERROR), what, where to read on from, of which run.

    `is_event`: the message is no text but a service's event and its fields, ``event=directive verb=stop``.
    """

    at: datetime
    level: str
    message: str
    cursor: str = ""
    run: str = ""
    is_event: bool = False


@dataclass(frozen=True)
class Span:
    """The run whose lines are wanted: its id, when it began, and when it ended (None: it goes on)."""

    run: str
    began: datetime | None = None
    ended: datetime | None = None


class Host(Protocol):
    """An operating system's manager. Slugs name tasks; every method may raise `HostFailed`."""

    name: str

    def boot(self) -> str:
        """Which boot of the machine this is."""

    # translating
    def check(self, schedule: Schedule) -> None:
        """Raise `UnsupportedHere` when the system cannot do what the schedule asks."""

    def firing(self, schedule: Schedule, slug: str) -> dict[str, Any]:
        """The constants that the runner needs to know about this task's firings."""

    def render(self, task: Task, command: list[str]) -> dict[Path, str]:
        """The task's unit files: path → text. `task.schedule` names its zone."""

    def log_path(self, slug: str) -> str:
        """Where the task's log is, as the record prints it."""

    # unit files
    def unit_files(self, slug: str) -> list[Path]:
        """Where the task's unit files lie when they are installed."""

    def is_installed(self, slug: str) -> bool: ...

    def installed(self) -> list[str]:
        """The slugs of all installed tasks."""

    def is_enabled(self, slug: str) -> bool: ...

    def set_enabled(self, slug: str, enabled: bool) -> None:
        """Say whether the task is armed when the system starts; survives reboots."""

    def reload(self) -> None:
        """Have the manager read changed unit files."""

    # arming
    def arm(self, slugs: Iterable[str], rested: Mapping[str, float] | None = None) -> list[str]:
        """Have the manager wait for the tasks' next times; those that did not come to wait for any.

        Nothing fires at once because of it, but what was due since a task's time in `rested` (epoch
        seconds): since then its timer rested only to be changed.
        """

    def disarm(self, slugs: Iterable[str]) -> None: ...

    def timers(self, slugs: Iterable[str]) -> dict[str, Timer]: ...

    def idle(self, slugs: Iterable[str]) -> list[str]:
        """Those of the tasks whose timer waits for no time; one for each boot that has fired needs none."""

    def coming(self, schedule: Schedule, slug: str, after: datetime, n: int) -> list[datetime]:
        """The next `n` times at which the manager will start the task once it is armed."""

    def zone_of(self, slug: str) -> str | None:
        """The zone that the task's installed units go by where its schedule names none, if they tell."""

    def is_polled(self, slug: str) -> bool:
        """Whether the manager fires the task too often, so that its next time is not the task's."""

    def forget_failure(self, slug: str) -> None:
        """Have the manager forget that the task's last run failed."""

    def forget(self, slug: str) -> None:
        """Remove what the manager remembers of a deleted task."""

    # runs
    def start_run(self, slug: str) -> str:
        """Start one run now without waiting for its end; its id."""

    def stop_run(self, slug: str) -> None:
        """End the run in progress and wait until it is gone."""

    def end_remains(self, slug: str) -> None:
        """End the processes that a dead run, whose file is there still, has left behind."""

    def ending(self, slug: str) -> Ending: ...

    def endings_of(self, slugs: Iterable[str]) -> dict[str, Ending]:
        """The same for many."""

    def failed(self) -> list[str]:
        """The slugs whose last run failed in the manager's eyes."""

    # the system
    def owner(self) -> str | None:
        """The system folder that keiji's installed units belong to, if it is another than ours and exists."""

    def folders_used(self) -> list[Path]:
        """The folders, beside keiji's own, in which the manager keeps and looks for what is keiji's."""

    def install_system(self) -> list[str]:
        """Write keiji's own units; says what changed."""

    def remove_system(self) -> None:
        """Remove keiji's own units, and whatever else the manager still has of keiji's."""

    def start_system(self) -> tuple[list[str], list[str]]:
        """Arm every enabled task that is not held, now and at each boot.

        The tasks that wait for a time, and those that did not come to.
        """

    def stop_system(self) -> None: ...

    def is_started(self) -> bool: ...

    def advice(self) -> list[str]:
        """Notes about this machine that keep tasks from running, each with its remedy."""

    def by_hand(self, slug: str) -> str:
        """The command line that stops the task without keiji."""

    def shown(self, slug: str) -> str:
        """The command line that shows what the manager says of the task's last run."""

    def strayed(self) -> dict[str, float]:
        """The tasks whose unit files go by a clock that is not the machine's any more.

        For each since when (epoch seconds) nothing that was due has been dealt with.
        """

    def housekeeping(self) -> str:
        """The command line that has done now what else is done each hour."""

    # looking for faults
    def checks(self) -> list[Check]:
        """What to look at for faults of the machine, of its manager and of keiji's own units.

        Among them are `MANAGER`, `UNIT_FOLDER` and `OWN_UNITS`; they may need those, and `FOLDERS`.
        """

    def unit_findings(self, task: Task, command: list[str]) -> list[Finding]:
        """What is wrong with the task's unit files; `task.schedule` names its zone.

        Raises `UnsupportedHere` and `InvalidSchedule` where they can't be rendered any more.
        """

    def loaded_findings(self, schedules: Mapping[str, Schedule]) -> list[Finding]:
        """Where the manager goes by something else than the unit files; the schedules name their zones."""

    # the bus service
    def start_bus(self) -> None:
        """Have the bus service run now; raises `BusUnavailable` with what keeps it from that.

        It waits for one that is leaving to be gone. One that has only just begun to leave may still look
        as if it ran, so who then finds nobody at the service's name asks again.
        """

    def stop_bus(self, stay: bool = False) -> bool:
        """End the bus service after what is in flight; whether it ran.

        `stay`: keep it down, whoever calls, until `allow_bus` or the next boot. Raises `BusUnavailable`
        when that can't be.
        """

    def allow_bus(self) -> bool:
        """Lift what `stop_bus` did to keep the bus service down; whether there was anything to lift."""

    def is_bus_answering(self) -> bool:
        """Whether a call would be answered; starts nothing."""

    def bus_files(self) -> list[str]:
        """The files by which the manager runs the bus service; none where it knows no such service."""

    def bus_advice(self) -> list[str]:
        """Notes about what keeps keiji, or other programs, from starting the bus service."""

    # logs
    def log(self, slug: str, level: str, message: str) -> None:
        """Write one of keiji's own lines into the task's log."""

    def task_log(self, slug: str, lines: int | None, span: Span | None = None) -> list[LogLine]:
        """The last `lines` lines (None: all), of one run when `span` is given."""

    def run_log_after(self, slug: str, span: Span, cursor: str) -> list[LogLine]:
        """The lines of a run that came after `cursor` (empty: from its beginning)."""

    def follow_task_log(self, slug: str, lines: int, span: Span | None = None) -> Iterator[LogLine]: ...

    def system_log(self, part: str, lines: int | None) -> list[LogLine]: ...

    def follow_system_log(self, part: str, lines: int) -> Iterator[LogLine]: ...


Rendered = Mapping[Path, str]
