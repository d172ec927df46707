"""A terminal for tests: a program runs in a real pty, and what its screen shows can be asked for."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import threading
from collections.abc import Mapping, Sequence

_TOKENS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|\r|\n|[^\x1b\r\n]+")


class Screen:
    """What a terminal shows of what was written to it; knows no more than keiji writes."""

    def __init__(self, rows: int, columns: int) -> None:
        self.rows, self.columns = rows, columns
        self.lines = [""] * rows
        self.row = self.column = 0

    def feed(self, text: str) -> None:
        for token in _TOKENS.findall(text):
            self._obey(token)

    def text(self) -> str:
        return "\n".join(line.rstrip() for line in self.lines).rstrip("\n")

    def _obey(self, token: str) -> None:
        line = self.lines[self.row]
        if token == "\n":
            self.row += 1
            if self.row == self.rows:
                self.row -= 1
                self.lines = [*self.lines[1:], ""]
        elif token == "\r":
            self.column = 0
        elif token == "\x1b[H":
            self.row = self.column = 0
        elif token == "\x1b[K":
            self.lines[self.row] = line[: self.column]
        elif token == "\x1b[J":
            self.lines[self.row :] = [line[: self.column], *[""] * (self.rows - self.row - 1)]
        else:
            assert not token.startswith("\x1b"), f"unknown: {token!r}"
            assert self.column + len(token) <= self.columns, f"wraps: {token!r}"
            self.lines[self.row] = (
                line[: self.column].ljust(self.column) + token + line[self.column + len(token) :]
            )
            self.column += len(token)


class Terminal:
    """A program that runs in a terminal of that size."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], rows: int = 24, columns: int = 100
    ) -> None:
        self._end, inside = pty.openpty()
        self.resize(rows, columns)
        # pty.fork() would return before the program is there, and a fork of the tests would have its signals
        self._process = subprocess.Popen(
            command,
            env={**environment, "TERM": "xterm"},  # whatever the terminal is that the tests run in
            stdin=inside,
            stdout=inside,
            stderr=inside,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(inside)
        self.pid = self._process.pid
        self._lock = threading.Lock()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def resize(self, rows: int, columns: int) -> None:
        self.screen = Screen(rows, columns)
        fcntl.ioctl(self._end, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys: str) -> None:
        os.write(self._end, keys.encode())

    def text(self) -> str:
        with self._lock:
            return self.screen.text()

    def status(self) -> int:
        """Waits for the program's end; its exit status."""
        status = self._process.wait()
        self._reader.join()
        os.close(self._end)
        return status

    def end(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
            self.status()

    def _read(self) -> None:
        while True:
            try:
                part = os.read(self._end, 65536)
            except OSError:  # the program has ended
                return
            with self._lock:
                self.screen.feed(part.decode())
