"""What the runner needs only now and then: guards, failures, stops, the latch.

A copy lies in each build as ``keiji_runner_rare``; `runner` imports it when it is needed.
"""

import posix
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType, TracebackType
    from typing import Any

    from keiji import runner
    from keiji.runner import Run
else:
    runner = sys.modules["keiji.runner" if __name__[:6] == "keiji." else "__main__"]

ERROR_LENGTH = 2000
CUT_OFF = "cut off by shutdown"
AT_LAST: "Callable[[], None] | None" = None
"""What comes after the record, where the system itself doesn't see to all."""

_OURS = runner.rare.__code__.co_filename


# before the run begins


def is_due(run: "Run", arguments: list[str]) -> bool:
    """Whether this firing may become a run; `arguments` are what the unit adds to the command line.

    ``--extras A-B,C-D`` (epoch seconds) are firings whose times depend on the time zone's rules.
    ``--zone NAME`` is the zone that the unit goes by, where the schedule itself names none.
    The others come from launchd's agents: see `runner_launchd.is_due`.
    """
    options = _options(arguments)
    extras = _ranges(options.get("--extras", ""))
    config = run.config
    if "--zone" in options:
        policy = {**config.SCHEDULE["policy"], "timezone": options["--zone"]}
        config.SCHEDULE = {**config.SCHEDULE, "policy": policy}
    if config.HOST != "linux":
        return bool(runner.rare("launchd").is_due(run, options))
    if run.why == "manual":
        return True
    guard = {"period": _takes_due, "skip": _is_in_time, "boot": _is_first_of_boot}.get(config.GUARD)
    if guard and not guard(run):
        return False
    now = run.began
    if any(begin - 2 <= now <= end + config.GRACE for begin, end in extras):
        due = _due(config, now + 1)
        if due is None or now - due > config.GRACE:
            return _skip(run, "dropped: the time zone's rules have changed, and no such time is due")
    return True


def _options(arguments: list[str]) -> dict[str, str]:
    options = dict(zip(arguments[::2], arguments[1::2], strict=False))
    known = {"--extras", "--zone", "--once", "--machine", "--due"}
    if len(arguments) != 2 * len(options) or not known.issuperset(options):
        runner.say(f"unknown arguments: {' '.join(arguments)}")
        raise SystemExit(2)
    return options


def _ranges(text: str) -> list[tuple[float, float]]:
    pairs = (pair.split("-") for pair in text.split(",") if pair)
    return [(float(begin), float(end)) for begin, end in pairs]


def _due(config: "Any", at: float) -> "float | None":
    """The last due time until `at`, as epoch seconds."""
    if config.PERIOD:
        return float(config.PHASE + (at - config.PHASE) // config.PERIOD * config.PERIOD)
    import datetime

    moment = datetime.datetime.fromtimestamp(at, datetime.timezone.utc)
    functions_own = _forget_keiji()
    try:
        schedule = runner.bring("keiji.schedule").Schedule.from_dict(config.SCHEDULE)
        due = runner.undisturbed(schedule.last_time, moment, datetime.timedelta(seconds=config.PHASE))
    finally:
        _forget_keiji()
        sys.modules.update(functions_own)
    return due.timestamp() if due else None


def _forget_keiji() -> "dict[str, ModuleType]":
    """The function may have a keiji of its own, or none; the build's must not stay in its place."""
    names = [name for name in sys.modules if name == "keiji" or name.startswith("keiji.")]
    return {name: sys.modules.pop(name) for name in names}


def _takes_due(run: "Run") -> bool:
    """For units that fire too often: whether a due time is here, or was missed, and not yet taken."""
    config, now = run.config, run.began
    due = _due(config, now + 1)  # a clock that is set back a little must not turn it down
    last = _last(run)
    if due is None or (last is not None and abs(last - due) < 0.5):
        return False
    if config.GUARD == "due" and last is not None and due < last <= now + 1:
        return False  # since then the agent has only been loaded
    run.remember = f"{due:.6f}"
    if now - due <= config.GRACE:
        return True
    if last is not None and last < due:
        if config.CATCH_UP:
            return True
        _skip(run, f"missed its time by {now - due:.0f} s")
    remember(run)
    return False


def _take_due(run: "Run") -> None:
    """Note that a time which came during the run is dealt with."""
    due = _due(run.config, time.time())
    if due is not None and due > float(run.remember or 0):  # which may lie a second ahead
        run.remember = f"{due:.6f}"
        remember(run)


def _last(run: "Run") -> "float | None":
    try:
        return float(runner.read_file(f"{run.folder}/last/{run.config.SLUG}"))
    except (OSError, ValueError):
        return None


def _is_in_time(run: "Run") -> bool:
    config = run.config
    due = _due(config, run.began + min(1, config.PERIOD / 2 or 1))
    late = run.began - due if due is not None else 0
    return late <= config.GRACE or _skip(run, f"missed its time by {late:.0f} s")


def _is_first_of_boot(run: "Run") -> bool:
    """A timer fires at each start of the timer, a task at boot runs once a boot."""
    try:
        last = runner.read_file(f"{run.folder}/last/{run.config.SLUG}").decode("ascii", "replace")
    except OSError:
        last = ""
    run.remember = run.boot
    return last.strip() != run.boot


def remember(run: "Run") -> None:
    """Write what the next firing must know."""
    path = f"{run.folder}/last/{run.config.SLUG}"
    try:
        _replace(path, run.id, run.remember)
    except OSError as error:
        runner.say(f"{path} cannot be written: {error}")


def _skip(run: "Run", why: str) -> bool:
    """Record a firing that is dropped; always False."""
    run.result, run.error, run.status, run.attempts = "skipped", why, None, 0
    print(f"keiji: skipped: {why}")
    try:
        _replace(f"{run.folder}/done/{run.id}", "new", run.head() + run.tail())
    except OSError as error:
        runner.say(f"this cannot be recorded: {error}")
    return False


def _replace(path: str, mark: str, text: str) -> None:
    """Write the file whole or not at all; raises OSError. Readers pass over names with a dot."""
    folder, _, name = path.rpartition("/")
    temporary = f"{folder}/.{name}.{mark}"
    flags = posix.O_WRONLY | posix.O_CREAT | posix.O_TRUNC | posix.O_CLOEXEC
    fd = posix.open(temporary, flags, 0o600)
    try:
        try:
            runner.write_all(fd, text.encode("utf-8", "backslashreplace"))
            posix.fsync(fd)
        finally:
            posix.close(fd)
        posix.rename(temporary, path)
    except OSError:
        try:
            posix.unlink(temporary)
        except OSError:
            pass
        raise


def _exists(path: str) -> bool:
    try:
        posix.stat(path)
    except OSError:
        return False
    return True


# how a run ends


def failed(run: "Run", error: BaseException) -> None:
    """The function has raised: print it as Python does, keep the end of it."""
    if isinstance(error, KeyboardInterrupt):
        run.result, run.status, run.signal, run.exit_status = "killed", None, 2, 130
        run.error = "interrupted"
        return runner.say(run.error)
    error.__traceback__ = trace = _trace(error)
    run.result, run.status, run.exit_status = "failed", 1, 1
    try:
        parts = runner.undisturbed(runner.bring("traceback").format_exception, type(error), error, trace)
    except Exception:
        parts = [repr(type(error))]
    run.error = _end_of(parts)
    try:
        if sys.excepthook is sys.__excepthook__:
            sys.stderr.write("".join(parts))
        else:
            sys.excepthook(type(error), error, trace)
    except Exception:
        runner.say(run.error)
    return None


def _trace(error: BaseException) -> "TracebackType | None":
    """The traceback without the runner's own frames."""
    trace = error.__traceback__
    while trace and trace.tb_frame.f_code.co_filename == _OURS:
        trace = trace.tb_next
    return trace


def place_of(run: "Run") -> str:
    """Where the function was when it was stopped, as the last lines of a traceback, or nothing."""
    traceback = runner.bring("traceback")

    trace = _trace(run.unwound) if run.unwound else None
    frames = [frame for frame in traceback.extract_tb(trace) if frame.filename != _OURS]
    lines = runner.undisturbed(traceback.format_list, frames[-3:])
    return "".join(lines).rstrip("\n")[-ERROR_LENGTH:]


def _end_of(parts: list[str]) -> str:
    """The last lines, as many as are kept; of an exception's own text that is longer, the beginning."""
    text = parts[-1].rstrip("\n")[:ERROR_LENGTH]
    lines = "".join(parts[:-1]).splitlines()
    while lines and len(lines[-1]) + 1 + len(text) <= ERROR_LENGTH:
        text = f"{lines.pop()}\n{text}"
    return text


def exited(run: "Run", code: object) -> None:
    """What Python makes of ``sys.exit(code)``."""
    if code is None or (isinstance(code, int) and not code & 255):
        return
    if isinstance(code, int):
        run.fail(f"the function ended the process with status {code & 255}", code & 255)
    else:
        run.fail(str(code))


def settle(run: "Run", listened: bool) -> None:
    """Decide what a stop means, and hold the task after a failure, before its record is ended.

    `listened`: SIGTERM was not taken by a handler of the function's own.
    """
    if run.config.GUARD == "period":
        _take_due(run)
    elif run.config.GUARD == "due":
        runner.rare("launchd").take_due(run)
    if run.stopped or run.result != "succeeded" or not listened:
        _judge_stop(run, listened)
    _hold(run)
    drain()


def _hold(run: "Run") -> None:
    if run.result in ("failed", "timed-out", "killed") and run.error != CUT_OFF and run.config.HOLD:
        slug, at = run.config.SLUG, time.time()
        text = f"id={run.id}\nresult={run.result}\nat={at:.6f}\nerror={runner.escaped(run.error)}\n"
        try:
            _replace(f"{run.folder}/held/{slug}", run.id, text)
        except OSError as error:
            if _touch(f"{run.folder}/held/{slug}"):
                return runner.say(f"the task is held, but why cannot be written down: {error}")
            runner.say(f"the task cannot be held: {error}")
            run.file = ""  # a record without an end stays: it blocks the next firing, and the handler
            # of the failed unit, which has other means, holds the task when it ends it
    return None


def _touch(path: str) -> bool:
    """Make a file that holds nothing, which a full disk may still take."""
    try:
        posix.close(posix.open(path, posix.O_WRONLY | posix.O_CREAT | posix.O_CLOEXEC, 0o600))
    except OSError:
        return False
    return True


def _judge_stop(run: "Run", listened: bool) -> None:
    """SIGTERM is a deliberate stop, unless the unit took too long or the machine goes down."""
    limit = run.config.LIMIT
    if _stop_was_meant(run):
        _stopped(run, "stopped")
    elif limit and run.stopped and (time.monotonic() - run.since >= limit or _unit_timed_out(run)):
        _stopped(run, "timed-out", f"timed out: the run may take {limit:g} s in all", 1)
        runner.say(run.error)
        run.error = f"{run.error}\n{place_of(run)}".strip()
    elif (run.stopped or not listened) and _goes_down(run):
        _stopped(run, "killed", CUT_OFF)
    elif run.stopped:
        _stopped(run, "stopped")


def _goes_down(run: "Run") -> bool:
    """Whether the machine does, or the session."""
    if run.config.HOST != "linux":  # launchd can't be asked, but keiji says beforehand what it stops
        return run.stopped
    return _ask_manager("is-system-running") == "stopping"


def _stopped(run: "Run", result: str, error: str = "", exit_status: int = 0) -> None:
    run.result, run.error, run.exit_status, run.status, run.signal = result, error, exit_status, None, 15


def raise_again(run: "Run") -> None:
    """Raise `Stopped` once more, a moment after this has returned to where the first was lost."""
    import _signal  # type: ignore[import-not-found]
    import _thread

    main = _thread.get_ident()

    def later() -> None:
        time.sleep(0.01)
        run.armed = True
        _signal.pthread_kill(main, _signal.SIGTERM)

    _thread.start_new_thread(later, ())


def _stop_was_meant(run: "Run") -> bool:
    path = f"{run.folder}/stopping/{run.config.SLUG}"
    try:
        text = runner.read_file(path).decode("ascii", "replace")
        if run.id not in text and "*" not in text:
            return False
        posix.unlink(path)
    except FileNotFoundError:
        return False
    except OSError:
        pass
    return True


def _unit_timed_out(run: "Run") -> bool:
    """The manager's clock started a little before ours."""
    unit = f"keiji-{run.config.SLUG}.service"
    return _ask_manager("show", "--property=Result", "--value", unit) == "timeout"


def _ask_manager(*words: str) -> str:
    """What ``systemctl --user`` answers, or nothing when it is not there or slow."""
    subprocess = runner.bring("subprocess")

    command = ["systemctl", "--user", *words]
    try:
        answer = subprocess.run(
            command, stdin=-3, stdout=-1, stderr=-3, timeout=2, check=False, encoding="utf-8"
        )
    except (OSError, subprocess.SubprocessError, UnicodeError):
        return ""
    text: str = answer.stdout.strip()
    return text


def reopen(path: str) -> int:
    """The run file once more: who clears up after a dead run takes a living one's away for a moment."""
    for _ in range(20):
        time.sleep(0.01)
        try:
            return posix.open(path, runner.APPEND)
        except FileNotFoundError:
            pass
    return posix.open(path, runner.APPEND)


def leave(run: "Run", status: int) -> None:
    """The function has called `os._exit`: end the record first."""
    if run.ended:
        drain()
    else:
        exited(run, status)
        run.left_with = run.exit_status
        run.finish()


def leave_with(status: int) -> None:
    """Exit with another status than the interpreter would."""
    flush()
    if AT_LAST:
        AT_LAST()
    runner.exit_now(status)


def flush() -> None:
    """Write what the text layers still hold; a log that is gone is no reason to fail."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass


def peak_memory() -> "int | None":
    """The peak of this process and its children in bytes, where `/proc` doesn't say it."""
    try:
        resource = runner.bring("resource")
    except ImportError:
        return None
    peak: int = max(
        resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    # The kernel's unit, whichever host keiji acts as; the runner can import nothing of keiji to ask.
    return peak if sys.platform == "darwin" else peak * 1024


def drain() -> None:
    """Wait until the log has what was said: of a process that is gone the journal can't tell the unit."""
    flush()
    if runner.captured:
        runner.captured.sync()
        return
    if b"JOURNAL_STREAM" not in posix.environ:
        return
    try:
        fcntl, termios = runner.bring("fcntl"), runner.bring("termios")
        for _ in range(50):
            time.sleep(0.01)  # also when it has read all: it looks at the process only then
            if not any(fcntl.ioctl(fd, termios.TIOCOUTQ, bytes(4)).strip(b"\0") for fd in (1, 2)):
                break
    except (ImportError, OSError):
        pass
    return


def boot_id() -> str:
    """This boot's name on macOS, which has no `/proc`."""
    reader, writer = posix.pipe()
    command = ["/usr/sbin/sysctl", "-n", "kern.bootsessionuuid"]
    try:
        output = [(posix.POSIX_SPAWN_DUP2, writer, 1)]
        child = posix.posix_spawn(command[0], command, posix.environ, file_actions=output)
        posix.waitpid(child, 0)
        posix.set_blocking(reader, False)
        return posix.read(reader, 100).decode().strip()
    except OSError:
        return ""
    finally:
        posix.close(reader)
        posix.close(writer)
