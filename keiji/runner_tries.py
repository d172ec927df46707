"""Functions that run in a child of the runner: tries that may be repeated or time out, and `os.exec*`.

A copy lies in each build as ``keiji_runner_tries``; `runner` imports it when it is needed. Only a
child can be ended whatever it does: stuck in C code, swallowing every exception, or killed.
"""

import _signal  # type: ignore[import-not-found]
import atexit
import posix
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from keiji import runner
    from keiji.runner import Run
else:
    runner = sys.modules["keiji.runner" if __name__[:6] == "keiji." else "__main__"]

PATIENCE = 5.0
"""Seconds between SIGTERM and SIGKILL."""

TRY: "type[_Try] | None" = None
"""What a try is, where the system itself doesn't see to all bounds."""

_NAP = 0.5  # seconds
_SIGTERM, _SIGALRM, _SIGINT = _signal.SIGTERM, _signal.SIGALRM, _signal.SIGINT


def run_foreground(folder: str, config: object) -> int:
    """Run the function of the task's folder in this process's terminal, and return the exit status.

    `config` has NAME, DESCRIPTION, ENV_FILE, TRIES, DELAY, BACKOFF and TIMEOUT as ``keiji_config``
    has. Nothing is recorded or held. May return twice, the second time in a child of its own: the
    caller must exit with the status.
    """
    run = runner.Run(config)
    run.ended = True
    if folder not in sys.path:
        sys.path.insert(0, folder)
    run.environment()
    try:
        if run.result == "succeeded":
            tries(run, apart=False)
    except KeyboardInterrupt:
        return 130
    return 143 if run.stopped else run.exit_status


def tries(run: "Run", apart: bool = True) -> None:
    """Call the function until it succeeds or has been tried often enough; returns in the child, too.

    `apart`: the child leads a process group, so that its own children can be ended with it (a
    terminal's Ctrl-C would not reach it there).
    """
    config = run.config
    if config.TRIES == 1 and not config.TIMEOUT and not apart:
        return run.attempt()
    delay = config.DELAY
    for number in range(1, config.TRIES + 1):
        run.attempts = number
        if (TRY or _Try)(run, apart).is_child():
            return None
        if run.result == "succeeded" or run.stopped or run.signal == 2 or number == config.TRIES:
            return None
        how = "timed out" if run.result == "timed-out" else "failed"
        runner.say(f"attempt {number} of {config.TRIES} {how}, next in {delay:g} s")
        if not sleep(run, delay):
            return None
        delay *= config.BACKOFF
    return None


def sleep(run: "Run", seconds: float) -> bool:
    """False when the run is stopped meanwhile.

    In short naps: a signal that comes just before a nap begins is seen only when that is over.
    """
    until = time.monotonic() + seconds
    try:
        try:
            run.armed = True
            while not run.stopped and (left := until - time.monotonic()) > 0:
                time.sleep(min(left, _NAP))
        finally:
            run.armed = False
    except runner.Stopped:
        pass
    return not run.stopped


class _Try:
    """One call of the function in a child, and the signals that end it."""

    def __init__(self, run: "Run", apart: bool) -> None:
        self.run = run
        self.apart = apart
        self.child = 0
        self.timed_out = False
        self.asked = False  # to end, by SIGTERM

    def is_child(self) -> bool:
        """Fork; in the child call the function; in the parent wait, and fill in how it ended."""
        runner.rare().flush()
        run = self.run
        run.result, run.status, run.signal, run.error, run.exit_status = "succeeded", 0, None, "", 0
        reader, writer = posix.pipe()
        previous = _handle({_SIGTERM: self._on_term, _SIGALRM: self._on_alarm, _SIGINT: self._on_int})
        try:
            child = posix.fork()
        except OSError as error:
            run.fail(f"the function cannot be started: {error}")
        else:
            if not child:
                _handle(previous)
                posix.close(reader)
                self._be_child(writer)
                return True
            status = self._wait(child)
            self._conclude(status, _read_waiting(reader))
        _handle(previous)
        posix.close(reader)
        posix.close(writer)
        return False

    def _be_child(self, writer: int) -> None:
        run = self.run
        run.pid = posix.getpid()
        run.ended = True  # the record is the parent's
        atexit.register(runner.rare().drain)
        if self.apart:
            posix.setpgid(0, 0)
        run.attempt()
        if run.stopped:
            run.error, run.exit_status = runner.rare().place_of(run), 143
        runner.write_all(writer, run.error.encode("utf-8", "backslashreplace"))
        posix.close(writer)
        if run.signal == _SIGINT:
            _signal.signal(_SIGINT, _signal.SIG_DFL)
            posix.kill(run.pid, _SIGINT)

    def _wait(self, child: int) -> int:
        """Wait for the child; the handlers do the rest, so no signal can come between it and its status."""
        if self.apart:
            try:
                posix.setpgid(child, child)  # whoever of the two comes first
            except OSError:
                pass
        _signal.setitimer(_signal.ITIMER_REAL, self.run.config.TIMEOUT or 0)
        self.child = child
        if self.run.stopped and not self.asked:
            self._end()
        _, status = posix.waitpid(child, 0)
        if self.asked:
            self._signal(_signal.SIGKILL)  # what it may have started
        self.child = 0
        _signal.setitimer(_signal.ITIMER_REAL, 0)
        return posix.waitstatus_to_exitcode(status)

    def _conclude(self, status: int, text: str) -> None:
        run = self.run
        if run.stopped or (status == 0 and not self.timed_out):
            return
        if self.timed_out:
            run.result, run.status, run.exit_status = "timed-out", None, 1
            run.error = f"timed out after {run.config.TIMEOUT:g} s"
            runner.say(run.error)
            run.error += f"\n{text}" if text else ""
        elif status < 0:
            run.result, run.status, run.signal, run.exit_status = "killed", None, -status, 128 - status
            run.error = text or f"killed by signal {-status}"
            runner.say(f"killed by signal {-status}")
        elif text:  # and the child has printed it
            run.result, run.status, run.error, run.exit_status = "failed", status, text, status
        else:
            runner.rare().exited(run, status)

    def _on_term(self, number: int, frame: object) -> None:
        self.run.stopped = True
        if self.child:
            self._end()

    def _on_alarm(self, number: int, frame: object) -> None:
        if not self.child:  # so soon that it isn't known yet
            _signal.setitimer(_signal.ITIMER_REAL, 0.05)
        elif self.asked:
            self._signal(_signal.SIGKILL)
        else:
            self.timed_out = True
            self._end()

    def _on_int(self, number: int, frame: object) -> None:
        if self.child and self.apart:  # else the terminal has told it
            self._signal(_SIGINT)

    def _end(self) -> None:
        self.asked = True
        self._signal(_SIGTERM)
        _signal.setitimer(_signal.ITIMER_REAL, PATIENCE)

    def _signal(self, number: int) -> None:
        try:
            (posix.killpg if self.apart else posix.kill)(self.child, number)
        except OSError:
            pass


def _handle(handlers: dict[int, object]) -> dict[int, object]:
    """Set the handlers of these signals; returns the ones before."""
    return {number: _signal.signal(number, handler) for number, handler in handlers.items()}


def _read_waiting(fd: int) -> str:
    """What is in the pipe, without waiting for others who may hold its other end."""
    posix.set_blocking(fd, False)
    data = b""
    try:
        while part := posix.read(fd, 65536):
            data += part
    except BlockingIOError:
        pass
    return data.decode("utf-8", "replace")


def execute(run: "Run", really: object, *arguments: object) -> None:
    """Have a child become the program, wait for it, and end the run and this process as it ends.

    Raises what `os.exec*` raises when it can't.
    """
    reader, writer = posix.pipe()
    child = posix.fork()
    if not child:
        try:
            really(*arguments)  # type: ignore[operator]
        except BaseException:
            posix.write(writer, b"!")
        finally:
            runner.exit_now(127)
    posix.close(writer)
    _handle({_SIGTERM: lambda *_: _pass_on(run, child)})
    could_not = posix.read(reader, 1)  # closed by the exec
    posix.close(reader)
    if not could_not:
        low = 3  # as exec does; a lock, say, would be held to the end
        for kept in [*(runner.captured.files() if runner.captured else ()), 1 << 20]:
            posix.closerange(low, kept)
            low = kept + 1
    status = posix.waitstatus_to_exitcode(posix.waitpid(child, 0)[1])
    if could_not:
        _handle({_SIGTERM: run.on_term})
        really(*arguments)  # type: ignore[operator]  # raises the same here
    if status < 0:
        run.result, run.status, run.signal = "killed", None, -status
        run.error = f"the program that the function became was killed by signal {-status}"
        run.exit_status = 128 - status
        runner.say(run.error)
    else:
        runner.rare().exited(run, status)
    run.left_with = run.exit_status
    run.finish()
    runner.exit_now(run.exit_status)


def _pass_on(run: "Run", child: int) -> None:
    run.stopped = True
    try:
        posix.kill(child, _SIGTERM)
    except OSError:
        pass
