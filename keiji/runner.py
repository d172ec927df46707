"""What a unit executes: one run of one task, from its first moment to its record.

`runner_start` makes a build's ``start.py`` of this file and the build's constants. On the way of a run
that succeeds it imports only what is built into the interpreter (`os` alone would cost a tenth of a
firing; `__future__` is a file, too), and is one file itself for the same reason; what happens seldom
lies in `runner_rare` and `runner_tries`.
"""

import _signal  # type: ignore[import-not-found]
import atexit
import gc
import posix
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

RESERVED = frozenset(
    (
        *("INVOCATION_ID", "JOURNAL_STREAM", "MAINPID", "MANAGERPID", "NOTIFY_SOCKET", "SYSTEMD_EXEC_PID"),
        *("LISTEN_FDNAMES", "LISTEN_FDS", "LISTEN_PID", "WATCHDOG_PID", "WATCHDOG_USEC", "FDSTORE"),
        *("EXIT_CODE", "EXIT_STATUS", "SERVICE_RESULT", "CREDENTIALS_DIRECTORY", "LOG_NAMESPACE"),
        *("MONITOR_EXIT_CODE", "MONITOR_EXIT_STATUS", "MONITOR_INVOCATION_ID", "MONITOR_SERVICE_RESULT"),
        *("MONITOR_UNIT", "TRIGGER_PATH", "TRIGGER_TIMER_MONOTONIC_USEC", "TRIGGER_TIMER_REALTIME_USEC"),
        *("TRIGGER_UNIT", "MEMORY_PRESSURE_WATCH", "MEMORY_PRESSURE_WRITE", "XPC_FLAGS", "XPC_SERVICE_NAME"),
    )
)
"""What an OS's manager says to a process: ``.env`` must not say it instead."""

JOURNAL = "/run/systemd/journal/stdout"
BOOT_ID = "/proc/sys/kernel/random/boot_id"
READ = posix.O_RDONLY | posix.O_CLOEXEC
APPEND = posix.O_WRONLY | posix.O_APPEND | posix.O_CLOEXEC
exit_now, execv_now, execve_now, fork_now = posix._exit, posix.execv, posix.execve, posix.fork


class Stopped(SystemExit):
    """The unit is being stopped.

    A SystemExit, which asyncio and the like let through where they swallow other exceptions.
    """


_own_path: list[str] = []
captured: "Any" = None  # what takes output into a log file, where no journal does


def undisturbed(work: "Any", *arguments: "Any") -> "Any":
    """``work(*arguments)``, which imports from here and the standard library whatever `sys.path` is."""
    path, sys.path = sys.path, _own_path or sys.path
    try:
        return work(*arguments)
    finally:
        sys.path = path


def bring(name: str) -> "Any":
    """A module of the build or of the standard library."""
    if name not in sys.modules:
        undisturbed(__import__, name)
    return sys.modules[name]


def rare(name: str = "rare") -> "Any":
    """The module ``runner_<name>`` beside this one."""
    return bring(f"{'keiji_' if __name__ == '__main__' else 'keiji.'}runner_{name}")


def say(text: str) -> None:
    """A line of keiji's own in the task's log; a log that is gone or full is no reason to fail."""
    try:
        sys.stderr.write(f"keiji: {text}\n")
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        pass


def write_all(fd: int, data: bytes) -> None:
    """All of `data`, though a disk that is nearly full may take it in pieces; raises OSError."""
    while data:
        data = data[posix.write(fd, data) :]


def read_file(path: str) -> bytes:
    """What the file holds; raises OSError."""
    fd = posix.open(path, READ)
    try:
        data = b""
        while part := posix.read(fd, 4096):  # a bigger buffer would be new memory each time
            data += part
        return data
    finally:
        posix.close(fd)


def escaped(text: str) -> str:
    """A value for a run file or a latch, which hold one ``key=value`` a line."""
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def parse_env(text: str) -> list[tuple[int, str, str]]:
    r"""What a ``.env`` says, as (line number, key, value); raises ValueError that names the line.

    ``KEY=VALUE`` with or without ``export``; quotes may span lines, double ones know ``\n \r \t \" \\ \$``;
    ``#`` begins a comment at a line's start and after a space. Nothing is expanded.
    """
    found = []
    lines = text.lstrip("\ufeff").replace("\r\n", "\n").split("\n")
    at = 0
    while at < len(lines):
        entry = lines[at].lstrip()
        at += 1
        if not entry or entry[0] == "#":
            continue
        first = at
        if entry[:6] == "export" and entry[6:7].isspace():
            entry = entry[7:]
        key, equals, value = entry.partition("=")
        key, value = key.strip(), value.lstrip()
        if not (equals and key.isascii() and key.isidentifier()):
            raise ValueError(f"line {first}: not KEY=VALUE")
        if value[:1] in ("'", '"'):
            value, at = _quoted(value, lines, at, f"line {first}: {key}")
        else:
            value = _before_comment(value)
        if "\0" in value:
            raise ValueError(f"line {first}: {key} holds a NUL character")
        found.append((first, key, value))
    return found


def _before_comment(value: str) -> str:
    for i, character in enumerate(value):
        if character == "#" and (i == 0 or value[i - 1].isspace()):
            return value[:i].rstrip()
    return value.rstrip()


_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$"}


def _quoted(text: str, lines: list[str], at: int, where: str) -> tuple[str, int]:
    """The value between the quotes, and the index of the line after it."""
    quote, i, value = text[0], 1, ""
    while text[i : i + 1] != quote:
        if i >= len(text):
            if at >= len(lines):
                raise ValueError(f"{where}: the quote is never closed")
            text, i, at = lines[at], 0, at + 1
            value += "\n"
        elif text[i] == "\\" and quote == '"' and text[i + 1 : i + 2] in _ESCAPES:
            value += _ESCAPES[text[i + 1]]
            i += 2
        else:
            value += text[i]
            i += 1
    if text[i + 1 :].strip()[:1] not in ("", "#"):
        raise ValueError(f"{where}: something follows the closing quote")
    return value, at


class Run:
    """One run and how it ended. `result`, `status`, `signal`, `error` and `attempts` go into its record."""

    def __init__(self, config: "Any") -> None:
        self.stopped = False  # SIGTERM came
        self.armed = False  # the function's code is running: SIGTERM raises there
        self.leaving = False  # the function's code has ended, its threads may not have
        self.pid = posix.getpid()
        _signal.signal(_signal.SIGTERM, self.on_term)
        self.config = config
        self.began = time.time()
        self.since = time.monotonic()
        self.result, self.error, self.attempts = "succeeded", "", 1
        self.status: int | None = 0
        self.signal: int | None = None
        self.file = ""  # the run file, while there is one
        self.remember = ""  # what goes into run/last once the run has begun
        self.ended = False
        self.spoke = False  # on stderr
        self.unwound: BaseException | None = None  # what stopped the function, as it left it
        self.exit_status = 0
        self.left_with = 0  # what the interpreter is going to exit with

    def on_term(self, number: int, frame: object) -> None:
        """SIGTERM: once, and only within the function's code, it raises."""
        if posix.getpid() != self.pid:  # a child that the function forked: not ours to unwind
            _signal.signal(_signal.SIGTERM, _signal.SIG_DFL)
            posix.kill(posix.getpid(), number)
        self.stopped = True
        if self.armed:
            self.armed = False
            self.left_with = 0
            sys.unraisablehook = self.swallowed
            raise Stopped

    def swallowed(self, unraisable: "Any") -> None:
        """What was raised where nothing can be, in a finaliser or a callback of an import, is lost there."""
        if unraisable.exc_type is not Stopped:
            sys.__unraisablehook__(unraisable)
        elif self.leaving:
            self.left_with = self.departed
        else:
            rare().raise_again(self)

    def identify(self) -> None:
        """Fill in who this run is; a manual request is used up by it."""
        self.folder = f"{self.config.HOME}/run"
        self.id = posix.environ.get(b"INVOCATION_ID", b"").decode("ascii", "replace")
        if len(self.id) != 32 or not self.id.isalnum():
            self.id = posix.urandom(16).hex()
        try:
            self.boot = read_file(BOOT_ID).decode().strip()
        except OSError:
            self.boot = rare().boot_id()
        try:
            posix.unlink(f"{self.folder}/requested/{self.config.SLUG}")
            self.why = "manual"
        except OSError:
            self.why = "boot" if self.config.KIND == "Boot" else "timer"

    def head(self) -> str:
        """What the run file says from the beginning."""
        return (
            f"keiji 1\nid={self.id}\ntask={self.config.SLUG}\nbuild={self.config.BUILD}\npid={self.pid}\n"
            f"boot={self.boot}\nwhy={self.why}\nbegan={self.began:.6f}\n"
        )

    def tail(self) -> str:
        """What the run file says at last."""
        times = posix.times()
        children = times.children_user + times.children_system
        try:
            peak = b"" if children else read_file("/proc/self/status").partition(b"VmHWM:")[2]
            memory = int(peak[: peak.index(b"kB")]) * 1024
        except (OSError, ValueError):
            memory = rare().peak_memory()
        text = f"ended={time.time():.6f}\nresult={self.result}\n"
        for key, value in ("status", self.status), ("signal", self.signal), ("memory", memory):
            if value is not None:
                text += f"{key}={value}\n"
        cpu = time.process_time() + children
        return f"{text}attempts={self.attempts}\ncpu={cpu:.6f}\nerror={escaped(self.error)}\nend\n"

    def begin(self) -> bool:
        """Make the run file; False when another run's is there. That it can't be made stops nothing."""
        path = f"{self.folder}/running/{self.config.SLUG}"
        try:
            fd = posix.open(path, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, 0o600)
            self.file = path
            try:
                write_all(fd, self.head().encode())
            finally:
                posix.close(fd)
        except FileExistsError:
            say("another run of this task has not ended: this firing is dropped")
            return False
        except OSError as error:
            self._lose(error)
        return True

    def _lose(self, error: OSError) -> None:
        say(f"this run cannot be recorded: {error}")
        try:
            posix.unlink(self.file)  # half a record would block the next firing
        except OSError:
            pass
        self.file = ""

    def environment(self) -> None:
        """Take in ``.env``; fails the run when it is there and cannot be understood."""
        path = self.config.ENV_FILE
        entries = [(0, "TASK_NAME", self.config.NAME), (0, "TASK_DESCRIPTION", self.config.DESCRIPTION)]
        try:
            entries += parse_env(read_file(path).decode("utf-8", "surrogateescape"))
        except FileNotFoundError:
            say(f"there is no {path}: the run goes on without it")
        except (OSError, ValueError) as error:
            self.attempts = 0
            return self.fail(f"{path} cannot be read: {error}")
        for number, key, value in entries:
            if key in RESERVED:
                say(f"{path}, line {number}: {key} is set by the system, and ignored here")
            else:
                set_variable(key, value)
        return None

    def fail(self, error: str, status: int = 1) -> None:
        """The run, or a try of it, has failed; says so."""
        self.result, self.status, self.error, self.exit_status = "failed", status, error, status
        say(error)

    def perform(self) -> None:
        """Take in the environment, then call the function as often as its build says."""
        try:
            self.environment()
            gc.freeze()  # what is here now is here to the end: looking through it costs a tenth of a firing
            if self.result != "succeeded":
                return
            if self.config.TIMEOUT or self.config.TRIES > 1 or self.config.HOST != "linux":
                rare("tries").tries(self)
            else:
                self.attempt()
        except BaseException as error:  # none of the function's
            rare().failed(self, error)

    def attempt(self) -> None:
        """Call the function once, in this process, and fill in how it ended."""
        try:
            try:
                self.armed = True
                if self.stopped:
                    raise Stopped
                call()
            finally:
                self.armed = False
        except Stopped as stop:  # also when it comes just before `armed` is taken back
            self.unwound = stop
        except SystemExit as error:
            rare().exited(self, error.code)
        except BaseException as error:
            rare().failed(self, error)

    def depart(self) -> None:
        """Let the interpreter end: it waits for threads, and SIGTERM may end the wait."""
        self.departed = self.left_with = self.exit_status
        self.leaving = self.armed = True
        if self.stopped or self.exit_status:
            raise SystemExit(self.exit_status)

    def finish(self) -> None:
        """End the record. The last of the exit handlers, so that threads and the others have ended."""
        self.armed = False
        if self.ended or posix.getpid() != self.pid:
            return
        self.ended = True
        listened = _signal.getsignal(_signal.SIGTERM) == self.on_term
        plain = self.result == "succeeded" and listened and not self.stopped
        if not plain or self.spoke or self.config.GUARD in ("period", "due"):
            rare().settle(self, listened)
        elif captured:
            captured.sync()
        if self.file:
            try:
                try:
                    fd = posix.open(self.file, APPEND)
                except FileNotFoundError:
                    fd = rare().reopen(self.file)
                try:
                    write_all(fd, self.tail().encode("utf-8", "backslashreplace"))
                finally:
                    posix.close(fd)
                posix.rename(self.file, f"{self.folder}/done/{self.id}")
            except OSError as error:
                self._lose(error)
        if self.exit_status != self.left_with:  # learnt after the interpreter had begun to leave
            rare().leave_with(self.exit_status)

    def watch(self) -> None:
        """See to it that stderr is set apart once it is used, and that no way out leaves no record."""
        ways: dict[str, Any] = {name: getattr(self, name) for name in ("_exit", "execv", "execve", "fork")}
        vars(posix).update(ways)
        self.errors = sys.stderr
        if "os" in sys.modules:  # without `-S`
            vars(sys.modules["os"]).update(ways)
            return errors_apart(self.config.SLUG)
        sys.meta_path.insert(0, self)
        if self.errors is not None:
            self.errors.write = self.first_words  # type: ignore[method-assign]
        return None

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        """Whatever can write to stderr past `sys.stderr` (a child, an extension) comes with `os`."""
        if name == "os":
            self.set_apart()

    def first_words(self, text: str) -> int:
        """Instead of the `write` of stderr, until it is used."""
        self.spoke = True
        vars(self.errors).pop("write", None)
        self.set_apart()
        return self.errors.write(text)

    def set_apart(self) -> None:
        """The stream costs a module and a connection, so it is made when it is needed."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)
            errors_apart(self.config.SLUG)

    def _exit(self, status: int) -> None:
        """Instead of `os._exit`, which would leave no record."""
        if posix.getpid() == self.pid:
            rare().leave(self, status)
        exit_now(status)

    def fork(self) -> int:
        """Instead of `os.fork`: in the child SIGTERM does what it does in any.

        It is blocked meanwhile, since a child of Python's forgets what comes before it has set itself up.
        """
        mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, (_signal.SIGTERM,))
        try:
            child = fork_now()
            if not child and _signal.getsignal(_signal.SIGTERM) == self.on_term:
                _signal.signal(_signal.SIGTERM, _signal.SIG_DFL)
            return child
        finally:
            _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)

    def execv(self, *arguments: "Any") -> None:
        """Instead of `os.execv`, which would leave nobody to make the record."""
        if posix.getpid() == self.pid:
            rare("tries").execute(self, execv_now, *arguments)
        execv_now(*arguments)

    def execve(self, path: "Any", argv: "Any", env: "Any") -> None:
        """Instead of `os.execve`, likewise."""
        if posix.getpid() == self.pid:
            rare("tries").execute(self, execve_now, path, argv, env)
        execve_now(path, argv, env)


def call() -> None:
    """Import ``function`` and call it; a coroutine is run to its end."""
    import function  # type: ignore[import-not-found]

    result = function.function()
    if type(result).__name__ == "coroutine":
        import asyncio

        asyncio.run(result)


def set_variable(key: str, value: str) -> None:
    """Into the environment of this process and of its children, without importing `os`."""
    if "os" in sys.modules:
        sys.modules["os"].environ[key] = value
    else:
        name, data = key.encode(), value.encode("utf-8", "surrogateescape")
        posix.environ[name] = data
        posix.putenv(name, data)
    if key == "TZ":
        time.tzset()


def errors_apart(slug: str) -> None:
    """Give stderr a journal stream of its own, with the priority of errors, for children, too."""
    ours = posix.environ.get(b"JOURNAL_STREAM")
    if not ours:
        return
    try:
        status = posix.fstat(2)
        if ours != b"%d:%d" % (status.st_dev, status.st_ino):
            return
        import _socket

        stream = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        # Without it a line that comes while the journal accepts says not whose it is.
        stream.setsockopt(_socket.SOL_SOCKET, _socket.SO_PASSCRED, 1)
        stream.connect(JOURNAL)
        write_all(stream.fileno(), f"keiji-{slug}\n\n{3 << 3 | 3}\n1\n0\n0\n0\n".encode())  # daemon, err
        posix.dup2(stream.fileno(), 2)
        stream.close()
        status = posix.fstat(2)
        set_variable("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
    except OSError:
        pass  # then both have one priority


def lines_at_once() -> None:
    """A line of text is one write, in UTF-8 whatever the locale (``-u`` writes each piece)."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.reconfigure(  # type: ignore[union-attr]
                encoding="utf-8", errors=stream.errors, line_buffering=True, write_through=False
            )


def give_back(config: "Any", folder: str) -> None:
    """What ``-I -S`` and the real interpreter take away from a virtual environment's."""
    builtins = sys.modules["builtins"].__dict__
    builtins.setdefault("exit", sys.exit)
    builtins.setdefault("quit", sys.exit)
    sys.prefix = sys.exec_prefix = config.PREFIX
    sys.executable = config.EXECUTABLE
    own = [folder + path[7:] for path in config.PATHS if path[:7] == "{build}"]
    others = [path for path in config.PATHS if path[:7] != "{build}" and path not in sys.path]
    sys.path[:] = [*own, *sys.path, *others]


def main(config: "Any", file: str) -> None:
    """Run the task of the build that `file` lies in; SystemExit unless it succeeds or nothing is due."""
    run = Run(config)
    folder = file.rpartition("/")[0]
    try:  # once: what is imported late in a run comes from the same build
        folder = folder[: folder.rindex("/") + 1] + posix.readlink(folder)
    except OSError:
        pass
    _own_path[:] = [folder, *sys.path]
    extras = sys.argv[1:]
    del sys.argv[1:]
    lines_at_once()
    run.watch()
    run.identify()
    if b"JOURNAL_STREAM" not in posix.environ:
        rare("logs").capture_run(run)
    if (config.GUARD or extras or config.HOST != "linux") and not rare().is_due(run, extras):
        return
    if not run.begin():
        return
    if run.remember:
        rare().remember(run)
    give_back(config, folder)
    for _ in range(2):  # SIGTERM may interrupt the first before it has disarmed itself
        atexit.register(run.finish)
    run.perform()
    run.depart()
