"""Output that would go nowhere goes to a log file, line by line with its time.

A copy lies in each build as ``keiji_runner_logs``. A process of its own reads the two pipes: it goes on
when the run is killed and while children of the run still speak, and a thread would stand still with
whatever holds the interpreter. It is nobody's child, so that a function that waits for its children
doesn't meet it.
"""

import _signal  # type: ignore[import-not-found]
import posix
import select
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from keiji import runner, runner_files
    from keiji.runner import Run
else:
    runner = sys.modules["keiji.runner" if __name__[:6] == "keiji." else "__main__"]
    runner_files = runner.rare("files")

_SYNC_PATIENCE = 2.0  # seconds that the end of a run waits for its last line to be written
_CHUNK = 65536
_CHUNKS = 20  # more than a pipe holds, unless somebody has made it larger
_HELD = 1 << 18  # bytes of lines that wait while the disk is full
_RETRY = 1000  # milliseconds
_DEAF = (_signal.SIGTERM, _signal.SIGINT, _signal.SIGHUP)


def capture_run(run: "Run") -> None:
    """What a run says goes to its task's log."""
    home, slug = run.config.HOME, run.config.SLUG
    path, owner = f"{home}/logs/tasks/{slug}/task.log", f"{home}/exec/tasks/{slug}"
    runner.captured = capture(path, run.id, run.config.SETTINGS, owner)


def capture(path: str, run: str, settings: str, owner: str) -> "Captured | None":
    """Take what stdout and stderr say from now on into the log, where they lead to ``/dev/null``.

    `run` is named by each line. None where nothing was taken: a run goes on without its log.
    """
    try:
        lost = [fd for fd in (1, 2) if _is_null(fd)]
        return Captured(path, run, settings, owner, lost) if lost else None
    except OSError:
        return None


def _is_null(fd: int) -> bool:
    try:
        return posix.fstat(fd).st_rdev == posix.stat("/dev/null").st_rdev
    except OSError:  # it is closed
        return False


class Captured:
    """The writing ends: stdout and stderr, and a pipe to ask by whether all was written."""

    def __init__(self, path: str, run: str, settings: str, owner: str, lost: "list[int]") -> None:
        pipes = [posix.pipe() for _ in range(len(lost) + 2)]
        try:
            if not _start(lambda: _Pump(path, run, settings, owner, lost, pipes).serve()):
                raise OSError("no process for the log")
            for fd, (_, writer) in zip(lost, pipes, strict=False):
                posix.dup2(writer, fd)
        except OSError:
            _close(fd for pipe in pipes for fd in pipe)
            raise
        self._ask, self._answers = pipes[-2][1], pipes[-1][0]
        _close(fd for pipe in pipes for fd in pipe if fd not in (self._ask, self._answers))
        posix.set_blocking(self._answers, False)
        self._are = self._identities()

    def sync(self) -> None:
        """Wait until what was said is in the file; not for ever."""
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError, AttributeError):
                pass
        try:
            if self.files():
                token = posix.urandom(8)
                posix.write(self._ask, token)
                self._wait_for(token)
        except OSError:
            pass

    def files(self) -> "list[int]":
        """Its two descriptors, the lower first; none once the function has closed or taken them."""
        try:
            is_ours = self._identities() == self._are
        except OSError:
            is_ours = False
        return sorted((self._ask, self._answers)) if is_ours else []

    def _wait_for(self, token: bytes) -> None:
        give_up, pause, answer = time.monotonic() + _SYNC_PATIENCE, 0.0002, b""
        while token not in answer:
            try:
                part = posix.read(self._answers, _CHUNK)
                if not part:
                    return
                answer += part
            except BlockingIOError:
                if time.monotonic() > give_up:
                    return
                time.sleep(pause)
                pause = min(pause * 2, 0.01)

    def _identities(self) -> "list[int]":
        return [posix.fstat(fd).st_ino for fd in (self._ask, self._answers)]


def _close(fds: "Iterable[int]") -> None:
    for fd in fds:
        posix.close(fd)


def _start(work: "Callable[[], None]") -> bool:
    """Do that in a process that is no child of this one; whether it could be started."""
    mask = _signal.pthread_sigmask(_signal.SIG_BLOCK, _DEAF)
    try:
        child = runner.fork_now()
        if not child:
            status = 1
            try:
                if runner.fork_now():
                    status = 0
                else:  # the signals that end a run stay blocked here
                    work()
            finally:
                runner.exit_now(status)
        return posix.waitpid(child, 0)[1] == 0
    finally:
        _signal.pthread_sigmask(_signal.SIG_SETMASK, mask)


class _Stream:
    """The bytes of one of the two, to lines."""

    def __init__(self, level: str) -> None:
        self.level = level
        self.rest = b""

    def take(self, data: bytes) -> "list[bytes]":
        """The messages that are whole now; one that is too long is cut."""
        *whole, self.rest = (self.rest + data).split(b"\n")
        messages = [piece for message in whole for piece in _pieces(message)]
        if len(self.rest) > runner_files.LONGEST:
            *cut, self.rest = _pieces(self.rest)
            messages += cut
        return messages

    def end(self) -> "list[bytes]":
        """What was said last, without the end of its line."""
        rest, self.rest = self.rest, b""
        return [rest] if rest else []


def _pieces(message: bytes) -> "list[bytes]":
    if len(message) <= runner_files.LONGEST:
        return [message]
    end = runner_files.LONGEST
    while end > runner_files.LONGEST - 4 and message[end] & 0xC0 == 0x80:  # within a character
        end -= 1
    return [message[:end], *_pieces(message[end:])]


def _prepared(settings: str) -> int:
    """Go by the settings' zone; how large the log may become. What is wrong there costs the run nothing."""
    try:
        limit, zone = runner_files.wanted(settings)
        if zone:
            posix.putenv("TZ", zone)
            time.tzset()
    except Exception:
        return runner_files.DEFAULT_SIZE
    return limit


class _Pump:
    """Reads the pipes and writes the log until nobody can say anything any more."""

    def __init__(
        self,
        path: str,
        run: str,
        settings: str,
        owner: str,
        lost: "list[int]",
        pipes: "list[tuple[int, int]]",
    ) -> None:
        posix.setsid()  # launchd ends the process group of a job with it
        limit = _prepared(settings)
        self.log = runner_files.LogFile(path, limit, owner)
        self.tail = f" run={run}" if run else ""
        self.held: list[bytes] = []
        self.dropped = 0
        self.asked, self.answers = pipes[-2][0], pipes[-1][1]
        self.streams = {
            reader: _Stream("INFO" if fd == 1 else "ERROR")
            for fd, (reader, _) in zip(lost, pipes, strict=False)
        }
        kept = (*self.streams, self.asked, self.answers)
        _close(fd for pipe in pipes for fd in pipe if fd not in kept)
        self.poll = select.poll()
        for fd in kept[:-1]:
            posix.set_blocking(fd, False)
            self.poll.register(fd, select.POLLIN)
        posix.set_blocking(self.answers, False)

    def serve(self) -> None:
        """Have a process do it and see that there is one: what a function says must not fail."""
        status = 1
        while status:
            try:
                child = runner.fork_now()
            except OSError:
                return self._serve()
            if not child:
                self._serve()
                runner.exit_now(0)
            status = posix.waitpid(child, 0)[1]
        return None

    def _serve(self) -> None:
        while self.streams:
            try:
                self._turn()
            except Exception:  # a run must never wait for its log
                pass

    def _turn(self) -> None:
        """Wait for something to be said, and write it."""
        events = [fd for fd, _ in self.poll.poll(_RETRY if self.held else None)]
        lines: list[bytes] = []
        for fd in events:
            if fd in self.streams:
                self._read(fd, lines)
        self._write(lines)
        if self.asked in events:
            self._answer()

    def _answer(self) -> None:
        """All that was said before the question is written before the answer."""
        token = posix.read(self.asked, _CHUNK)
        if not token:
            return self.poll.unregister(self.asked)
        lines: list[bytes] = []
        for fd, stream in [*self.streams.items()]:
            for _ in range(_CHUNKS):
                if not self._read(fd, lines):
                    break
            lines += self._lines(stream, stream.end())
        self._write(lines)
        try:
            posix.write(self.answers, token)
        except OSError:
            pass
        return None

    def _read(self, fd: int, lines: "list[bytes]") -> bool:
        """Add what is there to `lines`; whether there may be more."""
        stream = self.streams[fd]
        try:
            data = posix.read(fd, _CHUNK)
        except BlockingIOError:
            return False
        lines += self._lines(stream, stream.take(data) if data else stream.end())
        if not data:  # nobody has the writing end any more
            self.poll.unregister(fd)
            posix.close(fd)
            del self.streams[fd]
        return bool(data)

    def _lines(self, stream: _Stream, messages: "list[bytes]") -> "list[bytes]":
        now = runner_files.stamp(time.time())
        return [self._line(now, stream.level, message) for message in messages]

    def _line(self, now: str, level: str, message: bytes) -> bytes:
        if message[:1] == b"<" and message[2:3] == b">" and message[1:2] in b"01234567":  # as sd-daemon(3)
            level, message = "ERROR" if message[1:2] <= b"3" else "INFO", message[3:]
        text = runner_files.quote(message.decode("utf-8", "replace"))
        line = f"time={now} level={level} msg={text}{self.tail}\n"
        return line.encode("utf-8", "backslashreplace")

    def _write(self, lines: "list[bytes]") -> None:
        """Write what was held and the new ones; hold what can't be written, as much as is reasonable."""
        lines = self.held + lines
        if lines and self.dropped:
            why = f"keiji: {self.dropped} lines are lost, the log could not be written: {self.log.problem}"
            lines.insert(0, self._line(runner_files.stamp(time.time()), "ERROR", why.encode()))
        if not lines:
            return
        was_told = self.dropped
        left = self.log.write([*lines])
        if was_told and len(left) < len(lines):
            self.dropped = 0
        elif was_told:
            del left[0]
        size = sum(map(len, left))
        while left and size > _HELD:
            size -= len(left.pop(0))
            self.dropped += 1
        self.held = left
