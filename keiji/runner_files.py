"""Writing log files: each line whole and once, by several processes at a time, rotated by size.

A copy lies in each build as ``keiji_runner_files``, for the runner; commands and services use it, too.
Whoever writes holds a lock on the folder: a lock on the file would have to be taken anew whenever
somebody else rotates, and a file of its own for the lock can't be made on a full disk.
"""

import errno
import fcntl
import posix
import time

KEPT = 5
"""Old files beside the current one: ``x.log.1`` is the youngest."""

LONGEST = 48 * 1024
"""Bytes of a message; longer ones are cut into several, as the journal does."""

DEFAULT_SIZE = 1048576
_KIND, _REGULAR = 0o170000, 0o100000  # of a file's mode; the module stat would have to be loaded
_PATIENCE = 2.0  # seconds for the lock, whose holder may have been frozen: then the line counts more
_PAUSE = 0.001


def quote(text: str) -> str:
    """`text` in double quotes on one line; what a line can't hold is written with a backslash."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    if not escaped.isprintable():
        escaped = "".join(c if c.isprintable() else repr(c)[1:-1] for c in escaped)
    return f'"{escaped}"'


def stamp(at: float) -> str:
    """That time (epoch seconds) in this process's zone: ``2026-11-23T13:31:57.164+03:00``."""
    seconds, milliseconds = divmod(int(at * 1000), 1000)
    local = time.localtime(seconds)
    hours, minutes = divmod(abs(local.tm_gmtoff) // 60, 60)
    sign = "-" if local.tm_gmtoff < 0 else "+"
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', local)}.{milliseconds:03}{sign}{hours:02}:{minutes:02}"


def wanted(settings: str) -> "tuple[int, str]":
    """What a settings.conf wants of logs: their largest size in bytes (0: any), and the time zone or nothing.

    What is wrong there, or can't be read, is as if it weren't: commands say so, and a run can't wait for it.
    """
    found = {"ROTATE_LOGS": "1", "LOG_MAX_SIZE": str(DEFAULT_SIZE), "TIME_ZONE": ""}
    try:
        if posix.stat(settings).st_mode & _KIND == _REGULAR:  # to read a pipe would wait for ever
            with open(settings, encoding="utf-8-sig", errors="replace") as file:
                for line in file:
                    key, _, value = line.partition("#")[0].partition("=")
                    if key.strip() in found:
                        found[key.strip()] = value.strip().strip("\"'")
    except OSError:
        pass
    size, zone = found["LOG_MAX_SIZE"], found["TIME_ZONE"]
    limit = int(size) if size.isascii() and size.isdigit() and len(size) < 19 else DEFAULT_SIZE
    return limit if found["ROTATE_LOGS"] != "0" else 0, "" if "\0" in zone else zone


class LogFile:
    """One log. `limit` is its largest size in bytes, 0: any; `problem` says why the last write failed.

    One that was deleted is made anew, with its folder, as long as `owner` (a path) is there.
    """

    def __init__(self, path: str, limit: int, owner: str) -> None:
        self.path = path
        self.folder = path.rpartition("/")[0]
        self.limit = limit
        self.owner = owner
        self.problem: OSError | None = None
        self.fd = -1

    def write(self, lines: "list[bytes]") -> "list[bytes]":
        """Append the lines, each of which ends in a new line; those that could not be written."""
        self.problem = None
        folder = -1
        try:
            folder = self._open_folder()
            is_locked = _lock(folder)
            while lines:
                lines = self._write_some(lines, is_locked)
        except OSError as problem:
            self.problem = problem
        finally:
            if folder >= 0:
                posix.close(folder)
        return lines

    def close(self) -> None:
        if self.fd >= 0:
            posix.close(self.fd)
            self.fd = -1

    def _open_folder(self) -> int:
        flags = posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC
        try:
            return posix.open(self.folder, flags)
        except FileNotFoundError:
            posix.stat(self.owner)  # a task that is deleted gets no folder any more
            _make(self.folder)
            return posix.open(self.folder, flags)

    def _write_some(self, lines: "list[bytes]", is_locked: bool) -> "list[bytes]":
        """Write as many as go into one file; the others. Raises OSError."""
        size = self._reopen()
        if is_locked and self.limit and size and size + len(lines[0]) > self.limit:
            self._rotate()
            size = self._reopen()
        count = total = 0
        for line in lines:
            if count and is_locked and self.limit and size + total + len(line) > self.limit:
                break
            count, total = count + 1, total + len(line)
        # Who was killed while it wrote has left a piece: it stays a line of its own.
        begin = b"\n" if size and posix.pread(self.fd, 1, size - 1) != b"\n" else b""
        data = begin + b"".join(lines[:count])
        written = posix.write(self.fd, data)
        if written == len(data):
            return lines[count:]
        if not is_locked:
            raise OSError(errno.ENOSPC, "short write")
        whole = data.rfind(b"\n", 0, written) + 1
        posix.ftruncate(self.fd, size + whole)
        del lines[: data.count(b"\n", len(begin), whole)]
        raise OSError(errno.ENOSPC, "No space left on device")

    def _reopen(self) -> int:
        """Have the file open that has the name now; its size."""
        try:
            named = posix.stat(self.path)
            if self.fd >= 0:
                ours = posix.fstat(self.fd)
                if (named.st_dev, named.st_ino) == (ours.st_dev, ours.st_ino):
                    return ours.st_size
        except FileNotFoundError:
            pass
        self.close()
        flags = posix.O_RDWR | posix.O_APPEND | posix.O_CREAT | posix.O_CLOEXEC
        self.fd = posix.open(self.path, flags, 0o600)
        return posix.fstat(self.fd).st_size

    def _rotate(self) -> None:
        """Make room under the name. Killed half-way it leaves a gap, which the next one fills."""
        gap = next((n for n in range(1, KEPT) if not exists(f"{self.path}.{n}")), KEPT)
        try:
            for n in range(gap, 1, -1):
                posix.rename(f"{self.path}.{n - 1}", f"{self.path}.{n}")
            posix.rename(self.path, f"{self.path}.1")
        except OSError:
            pass  # a log that is too long is better than none


def exists(path: str) -> bool:
    try:
        posix.stat(path)
    except OSError:
        return False
    return True


def _make(folder: str) -> None:
    """The folder and those it lies in."""
    if not folder or exists(folder):
        return
    _make(folder.rpartition("/")[0])
    try:
        posix.mkdir(folder, 0o700)
    except FileExistsError:
        pass


def _lock(folder: int) -> bool:
    """Lock the folder until it is closed; False when nobody lets go of it, or its file system can't."""
    give_up = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > give_up:
                return False
            time.sleep(_PAUSE)
        except OSError:
            return False
