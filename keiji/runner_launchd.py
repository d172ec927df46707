"""What the runner makes up for where launchd starts it: it knows no seconds, no zones but the machine's, no
conditions, no memory limits, and starts nothing for a run that died.

A copy lies in each such build as ``keiji_runner_launchd``; `runner_rare` imports it at each firing.
"""

import _signal  # type: ignore[import-not-found]
import atexit
import posix
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from keiji import runner, runner_rare, runner_tries
    from keiji.runner import Run
else:
    runner = sys.modules["keiji.runner" if __name__[:6] == "keiji." else "__main__"]
    runner_rare, runner_tries = runner.rare(), runner.rare("tries")

POWER_OFF = "cut off by power-off"
LOCALTIME = "/etc/localtime"

PATIENCE = 20.0
"""Seconds that a run has to end after SIGTERM, as a unit's has on Linux."""

LOOK = 1.0
"""Seconds between two looks at how much memory a run takes."""

NAP = 0.25  # seconds
_NEAR = 5.0  # seconds about a full minute, at which launchd fires
interrupted = False  # a wait of this process, by a run that was asked for
SIGNALS = (_signal.SIGTERM, _signal.SIGUSR1, _signal.SIGALRM, _signal.SIGINT)


def is_due(run: "Run", options: "dict[str, str]") -> bool:
    """Whether this firing may become a run; for a resident task it returns in a child for each run.

    `options`: ``--once``: started for this one run, by an agent that has no schedule. ``--machine``: the
    zone by whose clock the agent was written, where it goes by one. ``--due``: what a resident task's
    process of another build was waiting for.
    """
    runner_tries.TRY = Watched
    environ = dict(posix.environ)  # before the task's own comes in
    is_once = "--once" in options
    _bury_dead(run)
    if "--machine" in options:
        _tell_of_move(run, options["--machine"])
    if not _is_wanted(run, is_once, float(options.get("--due", 0))):
        return False
    ours = posix.getpid()
    runner_rare.AT_LAST = lambda: _leave(run, is_once, environ) if posix.getpid() == ours else None
    atexit.register(runner_rare.AT_LAST)  # so early that it comes after the end of the record
    return True


def _is_wanted(run: "Run", is_once: bool, awaited: float) -> bool:
    if runner_rare._exists(f"{run.folder}/held/{run.config.SLUG}"):
        return False
    if run.why != "manual" and not is_once and rests(run):
        return False
    if run.config.LOOP and not is_once:
        return runner.rare("loop").Loop(run, awaited).comes_back() and _may_run(run)
    return is_once or _may_run(run)


def _may_run(run: "Run") -> bool:
    config = run.config
    if run.why == "manual":
        return True
    if config.LEAD and not _await_second(run):
        return False
    if config.GUARD == "boot" and not runner_rare._is_first_of_boot(run):
        return False
    if config.LEAD and run.why == "manual":
        return True
    if config.GUARD == "due" and not runner_rare._takes_due(run):
        return False
    return config.LOOP or not config.JITTER or _await_turn(run)


def rests(run: "Run") -> bool:
    """Whether the task was disarmed while its agent could not be unloaded without ending a run."""
    return bool(runner_rare._exists(f"{run.folder}/launchd/resting/{run.config.SLUG}"))


# waiting


def _await_second(run: "Run") -> bool:
    """Wait from the minute at which launchd fires for the second that is due; False when there is no run."""
    config = run.config
    due, last = runner_rare._due(config, run.began), runner_rare._last(run)
    if due is not None and last is not None and last < due - 0.5 and run.began - due <= config.GRACE:
        return True  # launchd is late, and so are we
    due = runner_rare._due(config, run.began + config.LEAD + 1) or 0.0
    return _wait(run, due, due, 2 * config.LEAD + 60)


def _await_turn(run: "Run") -> bool:
    """Wait until the jitter of the time that is due is over; False when there is no run."""
    config = run.config
    due = float(run.remember) if config.GUARD == "due" else run.began
    return _wait(run, due, turn(run, due, run.began), config.JITTER + 60)


def turn(run: "Run", due: float, since: float) -> float:
    """When a due time's jitter is over, epoch seconds; of one that was missed, counted from `since`.

    The same at each call in a boot: a process that takes over waits for the same moment.
    """
    config = run.config
    if not config.JITTER:
        return due
    share = runner.bring("binascii").crc32(f"{run.boot} {config.SLUG} {due:.0f}".encode()) / 2**32
    return float((since if since - due > config.GRACE else due) + share * config.JITTER)


def _wait(run: "Run", due: float, until: float, most: float) -> bool:
    """Wait until then for the run that is `due`, or until one is asked for; False when there is none.

    To launchd and to who looks at it this process is the agent's, as that of a run is. So a file tells of
    it, which is found there later only where it was killed: then nothing has come of that time.
    """
    global interrupted
    slug = run.config.SLUG
    note = f"{run.folder}/launchd/waiting/{slug}"
    _note(run, note, f"{run.pid} {due:.6f}\n")
    while (left := until - time.time()) > 0:
        is_over = left > most  # the clock was set back: another firing comes
        if is_over or runner_rare._exists(f"{run.folder}/held/{slug}") or rests(run):
            unlinked(note)
            return False
        if unlinked(f"{run.folder}/requested/{slug}"):
            run.why, run.remember, interrupted = "manual", "", True
            break
        renew(run)
        if not runner_tries.sleep(run, min(left, NAP)):
            return False
    renew(run)
    unlinked(note)
    begin_now(run)
    return True


def _note(run: "Run", path: str, text: str) -> None:
    folder = path.rpartition("/")[0]
    try:
        for it in (folder.rpartition("/")[0], folder):
            if not runner_rare._exists(it):
                posix.mkdir(it, 0o700)
        runner_rare._replace(path, run.id, text)
    except OSError:
        pass  # then it looks like a run that begins


def unlinked(path: str) -> bool:
    """Whether the file was there; it is no more."""
    try:
        posix.unlink(path)
    except OSError:
        return False
    return True


def renew(run: "Run", due: float = 0.0) -> None:
    """Begin anew with another build, when one has become current while this process waited; for `due`."""
    try:
        build = posix.readlink(f"{run.config.HOME}/exec/tasks/{run.config.SLUG}/current")
    except OSError:
        raise SystemExit(0) from None  # the task is being deleted
    if build != run.config.BUILD:
        give_up_log()
        words = [*sys.orig_argv]
        if due:
            if "--due" in words:
                del words[words.index("--due") :]
            words += ["--due", f"{due:.6f}"]
        runner.execv_now(words[0] if "/" in words[0] else sys.executable, words)


def begin_now(run: "Run") -> None:
    run.began, run.since = time.time(), time.monotonic()


# how it ends


def _leave(run: "Run", is_once: bool, environ: "dict[bytes, bytes]") -> None:
    """The last of all: launchd hears 0 of what was recorded, so that any other status is news to keiji."""
    if not run.file:
        return
    runner_rare.flush()
    if not is_once and not run.stopped and (interrupted or misses_next(run)):
        give_up_log()
        command = sys.orig_argv
        runner.execve_now(command[0] if "/" in command[0] else sys.executable, command, environ)
    runner.exit_now(0)


def misses_next(run: "Run") -> bool:
    """Whether launchd's firing for a time that is not due yet met this process, and is lost.

    It fires at full minutes, and starts nothing while the agent has a process. So that process has to take
    the run, too.
    """
    config, now = run.config, time.time()
    is_far = not config.PERIOD and not config.JITTER and (now + 1) % 60 > _NEAR
    if config.LOOP or config.GUARD != "due" or is_far:
        return False
    due = runner_rare._due(config, now + config.LEAD + 1)
    dealt_with = max(float(run.remember or 0), runner_rare._last(run) or 0)
    return due is not None and due - dealt_with > 0.5


def take_due(run: "Run") -> None:
    """Note that a time whose turn came during the run is dealt with."""
    now = time.time()
    due = runner_rare._due(run.config, now)
    if due is not None and turn(run, due, due) > now:
        due = runner_rare._due(run.config, due - 1)
    if due is not None and due > float(run.remember or 0) and turn(run, due, due) >= run.began - 1:
        run.remember = f"{due:.6f}"
        runner_rare.remember(run)


# where the machine is


def _tell_of_move(run: "Run", machine: str) -> None:
    """Have housekeeping write the agents anew, once, when the machine's clock is another zone's by now."""
    try:
        zone = posix.readlink(LOCALTIME).rpartition("zoneinfo/")[2]
    except OSError:
        return
    path = f"{run.folder}/launchd/zone"
    try:
        if zone == machine or runner.read_file(path).decode("ascii", "replace") == zone:
            return
    except OSError:
        pass
    try:
        runner_rare._replace(path, run.id, zone)
    except OSError:
        return  # it would be told of at each firing
    for domain in ("gui", "user"):
        _output("launchctl", "kickstart", f"{domain}/{posix.getuid()}/io.keiji.housekeeping")


# a run that could not speak for itself


def _bury_dead(run: "Run") -> None:
    """End the record of a run of this task that is gone, which would keep every other from beginning.

    One that a power cut took does not hold the task.
    """
    path = f"{run.folder}/running/{run.config.SLUG}"
    try:
        text = runner.read_file(path).decode("utf-8", "replace")
    except OSError:
        return
    head = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    if not head.get("id", "").isalnum() or not head.get("pid", "").isdigit():
        return  # torn: housekeeping puts it aside
    if head.get("boot") != run.boot:
        bury(run, path, head["id"], POWER_OFF, None)
    elif not _is_alive(int(head["pid"]), run.config.SLUG):
        end_remains(text)
        bury(run, path, head["id"], "killed: its process was gone", None)


def end_remains(text: str) -> None:
    """End what a run whose file says `text` has left behind; the run's own process is gone.

    A group's number may be another's by now: then who leads it began after it was noted.
    """
    for line in text.splitlines():
        name, _, value = line.partition("=")
        group, _, noted = value.partition(" ")
        if name == "group" and group.isdigit() and noted.isdigit():
            age = _age_of(int(group))
            if age is None or time.time() - age <= int(noted) + 2:
                end_group(int(group))


def end_group(group: int) -> None:
    """End every process of the group, and wait until they are gone."""
    try:
        for number, patience in ((_signal.SIGTERM, runner_tries.PATIENCE), (_signal.SIGKILL, 5.0)):
            posix.killpg(group, number)
            until = time.monotonic() + patience
            while time.monotonic() < until:
                time.sleep(0.01)
                posix.killpg(group, 0)
    except OSError:
        pass  # nobody is in it any more


def _age_of(pid: int) -> "float | None":
    """For how many seconds the process has been there, or None: `ps` says ``[[dd-]hh:]mm:ss``."""
    said = (_output("/bin/ps", "-o", "etime=", "-p", str(pid)) or "").strip()
    days, _, rest = said.rpartition("-")
    parts = [int(part) for part in rest.split(":") if part.isdigit()]
    return (
        sum(part * 60**n for n, part in enumerate(reversed(parts))) + 86400.0 * int(days or 0)
        if parts
        else None
    )


def _is_alive(pid: int, slug: str) -> bool:
    """Whether the process is that run: its number may be another's by now."""
    try:
        posix.kill(pid, 0)
    except PermissionError:
        return False
    except OSError:
        return False
    said = _output("/bin/ps", "-ww", "-o", "args=", "-p", str(pid))
    return said is None or f"/{slug}/" in said


def bury(run: "Run", path: str, id: str, error: str, signal: "int | None") -> None:
    """Say in its name how a run ended that was killed, and hold the task unless the power was cut."""
    dead = runner.Run(run.config)
    dead.folder, dead.id, dead.file = run.folder, id, path
    dead.result, dead.status, dead.signal, dead.error = "killed", None, signal, error
    dead.stopped = runner_rare._stop_was_meant(dead)
    if dead.stopped:
        dead.result, dead.error = "stopped", "stopped"
    elif error not in (POWER_OFF, runner_rare.CUT_OFF):
        runner.say(f"run {id} was {error}" if error[:6] == "killed" else f"run {id} {error}")
        runner_rare._hold(dead)
    try:
        fd = posix.open(path, runner.APPEND)
        try:
            runner.write_all(fd, dead.tail().encode("utf-8", "backslashreplace"))
        finally:
            posix.close(fd)
        posix.rename(path, f"{run.folder}/done/{id}")
    except OSError as problem:
        runner.say(f"the end of run {id} cannot be recorded: {problem}")
    _signal.signal(_signal.SIGTERM, run.on_term)  # which a `Run` takes when it is made


def give_up_log() -> None:
    """Each run's lines shall name it: the parent says nothing, and what wrote its log goes."""
    if runner.captured:
        null = posix.open("/dev/null", posix.O_RDWR)
        for fd in (1, 2):
            posix.dup2(null, fd)
        for fd in (null, *runner.captured.files()):
            posix.close(fd)
        runner.captured = None


# memory


class Watched(runner_tries._Try):
    """A try that is killed when it and its children take more memory than the task may have.

    A signal to the process must reach the thread that waits for the try: the watching one takes none.
    """

    def _be_child(self, writer: int) -> None:
        if self.apart and self.run.file:
            posix.setpgid(0, 0)
            self._note_group()
        super()._be_child(writer)

    def _note_group(self) -> None:
        """Say in the run's file whom to end should the run be killed, before there is anything to end."""
        parent = self.run.pid
        if posix.getppid() != parent:
            runner.exit_now(1)  # killed already
        try:
            fd = posix.open(self.run.file, runner.APPEND)
            try:
                runner.write_all(fd, f"group={posix.getpid()} {int(time.time())}\n".encode())
            finally:
                posix.close(fd)
        except OSError as problem:
            runner.say(f"{self.run.file} cannot be written: {problem}")

    def _wait(self, child: int) -> int:
        status = self._wait_watching(child)
        if self.apart:
            end_group(child)  # what the function has left, which ends with the run on Linux, too
        return status

    def _wait_watching(self, child: int) -> int:
        if not getattr(self.run.config, "MEMORY", 0):
            return super()._wait(child)
        import _thread

        self.is_over = False
        done, gone = _thread.allocate_lock(), _thread.allocate_lock()
        done.acquire()
        gone.acquire()
        mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, SIGNALS)
        _thread.start_new_thread(self._watch, (child, done, gone))
        _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)
        try:
            return super()._wait(child)
        finally:
            done.release()
            gone.acquire()  # a process that forks must have no other thread

    def _watch(self, child: int, done: "Any", gone: "Any") -> None:
        try:
            while not done.acquire(timeout=LOOK):
                if _memory_of(child) > self.run.config.MEMORY:
                    self.is_over = True
                    posix.killpg(child, _signal.SIGKILL)
        except OSError:
            pass  # it has just ended
        finally:
            gone.release()

    def _conclude(self, status: int, text: str) -> None:
        if status == -_signal.SIGKILL and not self.timed_out and getattr(self, "is_over", False):
            text = (
                f"killed: it took more than the {self.run.config.MEMORY >> 20} MiB of memory that it may have"
            )
            runner.say(text)
        super()._conclude(status, text)


def _memory_of(group: int) -> int:
    """The bytes in memory of all processes of a group."""
    # One list of both would be a heading of the first to macOS's ps.
    said = _output("/bin/ps", "-A", "-o", "pgid=", "-o", "rss=") or ""
    rows = (line.split() for line in said.splitlines())
    return sum(int(row[1]) for row in rows if row and row[0] == str(group)) * 1024


def _output(*command: str) -> "str | None":
    """What a program says, or None when it can't be asked."""
    subprocess = runner.bring("subprocess")
    try:
        answer = subprocess.run(
            command, stdin=-3, stdout=-1, stderr=-3, timeout=5, check=False, encoding="utf-8"
        )
    except (OSError, subprocess.SubprocessError, UnicodeError):
        return None
    text: str = answer.stdout
    return text
