"""The one process of a task whose period launchd can't keep: it waits, and forks a child for each run.

A copy lies in each such build as ``keiji_runner_loop``; `runner_launchd` imports it.
"""

import _signal  # type: ignore[import-not-found]
import posix
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from keiji import runner, runner_launchd, runner_rare
    from keiji.runner import Run
else:
    runner = sys.modules["keiji.runner" if __name__[:6] == "keiji." else "__main__"]
    runner_launchd, runner_rare = runner.rare("launchd"), runner.rare()


class Loop:
    """One process that keeps a period, and forks a child for each run.

    launchd leaves it down when it exits with 0: when the task is held, or it is told to end. SIGUSR1 ends
    the run in progress only. `awaited`: the due time that a process of another build was waiting for.
    """

    def __init__(self, run: "Run", awaited: float = 0.0) -> None:
        self.run = run
        self.awaited = awaited
        self.child = 0
        self.ends = False
        self.is_filed = bool(runner.captured)

    def comes_back(self) -> bool:
        """True in a child, for a run; the parent never comes back."""
        config, run = self.run.config, self.run
        runner_launchd.give_up_log()
        handlers = {
            _signal.SIGTERM: self._on_term,
            _signal.SIGUSR1: self._on_usr1,
            _signal.SIGALRM: self._on_alarm,
        }
        previous = {number: _signal.signal(number, handler) for number, handler in handlers.items()}
        if run.why == "manual" and self._is_child(previous, True):
            return True
        due = self._first()
        while not self.ends and not runner_rare._exists(f"{run.folder}/held/{config.SLUG}"):
            if runner_launchd.rests(run):
                break
            now, at = time.time(), runner_launchd.turn(run, due, run.began)
            if runner_rare._exists(f"{run.folder}/requested/{config.SLUG}"):
                if self._is_child(previous, False):
                    return True
                if at > time.time():
                    continue
            elif now >= at and (config.GUARD or now - due <= config.GRACE):
                if self._is_child(previous, False):
                    return True
            elif now < at <= now + config.PERIOD + config.JITTER + 1:
                runner_launchd.renew(run, due)
                time.sleep(min(at - now, runner_launchd.NAP))
                continue
            due = self._next()
        raise SystemExit(0)

    def _first(self) -> float:
        """What was awaited, or may be to be made up for, or else the next."""
        config, now = self.run.config, time.time()
        of_now = runner_rare._due(config, self.awaited + 0.01) or 0.0
        if now - config.GRACE <= self.awaited <= now + config.PERIOD and abs(of_now - self.awaited) < 0.01:
            return self.awaited
        return (runner_rare._due(config, now) or 0.0) if config.CATCH_UP else self._next()

    def _next(self) -> float:
        """The next due time; those whose turn has come are dealt with."""
        config, now = self.run.config, time.time()
        due = runner_rare._due(config, now) or 0.0
        return due if runner_launchd.turn(self.run, due, due) > now else float(due + config.PERIOD)

    def _is_child(self, previous: "dict[int, Any]", is_manual: bool) -> bool:
        """Fork; True in the child. The parent waits for its end, and speaks for it where it couldn't."""
        runner_rare.flush()
        mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, runner_launchd.SIGNALS)
        child = runner.fork_now()
        if not child:
            run = self.run
            run.pid = posix.getpid()
            for number, handler in previous.items():
                _signal.signal(number, handler)
            _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)
            runner_launchd.begin_now(run)
            run.id = posix.urandom(16).hex()
            if self.is_filed:
                runner.rare("logs").capture_run(run)
            if not is_manual:
                run.why = (
                    "manual"
                    if runner_launchd.unlinked(f"{run.folder}/requested/{run.config.SLUG}")
                    else "timer"
                )
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
            runner_launchd.end_remains(text)
            error = runner_rare.CUT_OFF if self.ends else f"killed by signal {number}"
            runner_launchd.bury(self.run, path, head["id"], error, number)
            _signal.signal(_signal.SIGTERM, self._on_term)

    def _on_term(self, number: int, frame: object) -> None:
        self.ends = True
        self._end_child()

    def _on_usr1(self, number: int, frame: object) -> None:
        self._end_child()

    def _end_child(self) -> None:
        if self.child:
            _kill(self.child, _signal.SIGTERM)
            _signal.setitimer(
                _signal.ITIMER_REAL, runner_launchd.PATIENCE - 2
            )  # before launchd's own patience is over

    def _on_alarm(self, number: int, frame: object) -> None:
        if self.child:
            _kill(self.child, _signal.SIGKILL)


def _kill(pid: int, number: int) -> None:
    try:
        posix.kill(pid, number)
    except OSError:
        pass
