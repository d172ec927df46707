"""What the runner makes up for where launchd starts it: it knows no seconds, no zones but the machine's, no
conditions, no memory limits, and starts nothing for a run that died.

A copy lies in each such build as ``keiji_runner_launchd``; `runner_rare` imports it at each firing.
"""

import _signal  # type: ignore[import-not-found]
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

PATIENCE = 20.0
"""Seconds that a run has to end after SIGTERM, as a unit's has on Linux."""

LOOK = 1.0
"""Seconds between two looks at how much memory a run takes."""

_NAP = 0.25  # seconds
_SIGNALS = (_signal.SIGTERM, _signal.SIGUSR1, _signal.SIGALRM, _signal.SIGINT)


def is_due(run: "Run", is_once: bool) -> bool:
    """Whether this firing may become a run; for a resident task it returns in a child for each run.

    `is_once`: started for this one run, by an agent that has no schedule.
    """
    runner_tries.TRY = Watched
    _bury_dead(run)
    if runner_rare._exists(f"{run.folder}/held/{run.config.SLUG}"):
        return False
    if run.why != "manual" and not is_once and _rests(run):
        return False
    if run.config.LOOP and not is_once:
        return _Loop(run).comes_back() and _may_run(run)
    return is_once or _may_run(run)


def _may_run(run: "Run") -> bool:
    config = run.config
    if run.why == "manual":
        return True
    if config.LEAD and not _await_second(run):
        return False
    if config.GUARD == "boot" and not runner_rare._is_first_of_boot(run):
        return False
    if config.GUARD == "due" and not runner_rare._takes_due(run):
        return False
    if config.JITTER:
        seconds = int.from_bytes(posix.urandom(4), "big") / 2**32 * config.JITTER
        return runner_tries.sleep(run, seconds)
    return True


def _rests(run: "Run") -> bool:
    """Whether the task was disarmed while its agent could not be unloaded without ending a run."""
    return bool(runner_rare._exists(f"{run.folder}/launchd/resting/{run.config.SLUG}"))


def _await_second(run: "Run") -> bool:
    """Wait from the minute at which launchd fires for the second that is due; False when stopped."""
    due = runner_rare._due(run.config, run.began + run.config.LEAD + 1) or 0.0
    while (left := due - time.time()) > 0:
        if left > 2 * run.config.LEAD + 60:  # the clock was set back: another firing comes
            return False
        if not runner_tries.sleep(run, min(left, _NAP)):
            return False
    _begin_now(run)
    return True


def _begin_now(run: "Run") -> None:
    run.began, run.since = time.time(), time.monotonic()


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
        _bury(run, path, head["id"], POWER_OFF, None)
    elif not _is_alive(int(head["pid"]), run.config.SLUG):
        _bury(run, path, head["id"], "killed: its process was gone", None)


def _is_alive(pid: int, slug: str) -> bool:
    """Whether the process is that run: its number may be another's by now."""
    try:
        posix.kill(pid, 0)
    except PermissionError:
        return False
    except OSError:
        return False
    said = _output("/bin/ps", "-o", "args=", "-p", str(pid))
    return said is None or f"/{slug}/" in said


def _bury(run: "Run", path: str, id: str, error: str, signal: "int | None") -> None:
    """Say in its name how a run ended that was killed, and hold the task unless the power was cut."""
    dead = runner.Run(run.config)
    dead.folder, dead.id, dead.file = run.folder, id, path
    dead.result, dead.status, dead.signal, dead.error = "killed", None, signal, error
    dead.stopped = runner_rare._stop_was_meant(dead)
    if dead.stopped:
        dead.result, dead.error = "stopped", "stopped"
    elif error != POWER_OFF:
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


# a period that launchd can't keep


class _Loop:
    """One process that keeps a period, and forks a child for each run.

    launchd leaves it down when it exits with 0: when the task is held, or it is told to end. SIGUSR1 ends
    the run in progress only.
    """

    def __init__(self, run: "Run") -> None:
        self.run = run
        self.child = 0
        self.ends = False
        self.is_filed = bool(runner.captured)
        self.current = f"{run.config.HOME}/exec/tasks/{run.config.SLUG}/current"

    def comes_back(self) -> bool:
        """True in a child, for a run; the parent never comes back."""
        config, run = self.run.config, self.run
        _give_up_log()
        handlers = {
            _signal.SIGTERM: self._on_term,
            _signal.SIGUSR1: self._on_usr1,
            _signal.SIGALRM: self._on_alarm,
        }
        previous = {number: _signal.signal(number, handler) for number, handler in handlers.items()}
        is_asked = run.why == "manual"
        if (is_asked or config.CATCH_UP) and self._is_child(previous, is_asked):
            return True
        due = self._next()
        while not self.ends and not runner_rare._exists(f"{run.folder}/held/{config.SLUG}"):
            if _rests(run):
                break
            self._renew()
            now = time.time()
            is_asked = runner_rare._exists(f"{run.folder}/requested/{config.SLUG}")
            if is_asked or (now >= due and (config.GUARD or now - due <= config.GRACE)):
                if self._is_child(previous, False):
                    return True
            elif now < due <= now + config.PERIOD + 1:
                time.sleep(min(due - now, _NAP))
                continue
            due = self._next()
        raise SystemExit(0)

    def _next(self) -> float:
        """The next due time; the last is dealt with."""
        config = self.run.config
        return float((runner_rare._due(config, time.time()) or 0) + config.PERIOD)

    def _renew(self) -> None:
        """Begin anew with another build, when one is current."""
        try:
            build = posix.readlink(self.current)
        except OSError:
            raise SystemExit(0) from None  # the task is being deleted
        if build != self.run.config.BUILD:
            runner.execv_now(sys.orig_argv[0] if "/" in sys.orig_argv[0] else sys.executable, sys.orig_argv)

    def _is_child(self, previous: "dict[int, Any]", is_manual: bool) -> bool:
        """Fork; True in the child. The parent waits for its end, and speaks for it where it couldn't."""
        runner_rare.flush()
        mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, _SIGNALS)
        child = runner.fork_now()
        if not child:
            run = self.run
            run.pid = posix.getpid()
            for number, handler in previous.items():
                _signal.signal(number, handler)
            _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)
            _begin_now(run)
            run.id = posix.urandom(16).hex()
            if self.is_filed:
                runner.rare("logs").capture_run(run)
            if not is_manual:
                run.why = "manual" if _is_unlinked(f"{run.folder}/requested/{run.config.SLUG}") else "timer"
            return True
        self.child = child
        _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)
        _, status = posix.waitpid(child, 0)
        self.child = 0
        _signal.setitimer(_signal.ITIMER_REAL, 0)
        self.run.why = "timer"
        if posix.WIFSIGNALED(status):
            self._speak_for(child, posix.WTERMSIG(status))
        return False

    def _speak_for(self, child: int, number: int) -> None:
        path = f"{self.run.folder}/running/{self.run.config.SLUG}"
        try:
            text = runner.read_file(path).decode("utf-8", "replace")
        except OSError:
            return
        head = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
        if head.get("pid") == str(child):
            _bury(self.run, path, head["id"], f"killed by signal {number}", number)
            _signal.signal(_signal.SIGTERM, self._on_term)

    def _on_term(self, number: int, frame: object) -> None:
        self.ends = True
        self._end_child()

    def _on_usr1(self, number: int, frame: object) -> None:
        self._end_child()

    def _end_child(self) -> None:
        if self.child:
            _kill(self.child, _signal.SIGTERM)
            _signal.setitimer(_signal.ITIMER_REAL, PATIENCE - 2)  # before launchd's own patience is over

    def _on_alarm(self, number: int, frame: object) -> None:
        if self.child:
            _kill(self.child, _signal.SIGKILL)


def _give_up_log() -> None:
    """Each run's lines shall name it: the parent says nothing, and what wrote its log goes."""
    if runner.captured:
        null = posix.open("/dev/null", posix.O_RDWR)
        for fd in (1, 2):
            posix.dup2(null, fd)
        for fd in (null, *runner.captured.files()):
            posix.close(fd)
        runner.captured = None


def _is_unlinked(path: str) -> bool:
    try:
        posix.unlink(path)
    except OSError:
        return False
    return True


def _kill(pid: int, number: int) -> None:
    try:
        posix.kill(pid, number)
    except OSError:
        pass


# memory


class Watched(runner_tries._Try):
    """A try that is killed when it and its children take more memory than the task may have.

    A signal to the process must reach the thread that waits for the try: the watching one takes none.
    """

    def _wait(self, child: int) -> int:
        if not getattr(self.run.config, "MEMORY", 0):
            return super()._wait(child)
        import _thread

        self.is_over = False
        done, gone = _thread.allocate_lock(), _thread.allocate_lock()
        done.acquire()
        gone.acquire()
        mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, _SIGNALS)
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
