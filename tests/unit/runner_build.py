"""A build made by hand, for running the runner as a unit does."""

from __future__ import annotations

import os
import py_compile
import shutil
import signal
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from keiji.kit import AUTHORING, source
from keiji.runfile import fields
from keiji.runner_start import START, write_runner

PYTHON = str(Path(sys.executable).resolve())
RUN_ID = "0123456789abcdef0123456789abcdef"
WAIT = 60  # seconds until a test that hangs is given up

_PLAIN = {
    "SLUG": "demo",
    "NAME": "Demo",
    "DESCRIPTION": "shows it",
    "BUILD": "abc",
    "HOST": "linux",
    "KIND": "HMS",
    "PERIOD": 0,
    "PHASE": 0.0,
    "CATCH_UP": False,
    "GUARD": "",
    "GRACE": 60.0,
    "JITTER": 0.0,
    "SCHEDULE": {},
    "TRIES": 1,
    "DELAY": 0.0,
    "BACKOFF": 1.0,
    "TIMEOUT": 0.0,
    "HOLD": True,
    "PATHS": ["{build}/task", "{build}/shared"],
    "LIMIT": 0.0,
    "LEAD": 0.0,
    "LOOP": False,
    "MEMORY": 0,
}


@dataclass(frozen=True)
class Ended:
    """How a start ended: its exit status, what it printed, and its record (empty where there is none)."""

    status: int
    output: str
    errors: str
    record: dict[str, str]

    @property
    def result(self) -> str | None:
        return self.record.get("result")


class Build:
    """The system folder of one task, `demo`, and its build, named by ``current``."""

    def __init__(self, home: Path, function: str, env: str | None = "", **constants: object) -> None:
        self.options = ["-I", "-S", "-u"]
        self.home = home
        self.run_folder = home / "run"
        self.folder = home / "exec" / "tasks" / "demo" / "abc"
        self.env_file = home / "demo.env"
        self.constants = {
            **_PLAIN,
            "HOME": str(home),
            "ENV_FILE": str(self.env_file),
            "SETTINGS": str(home / "settings.conf"),
            "PREFIX": str(home / "venv"),
            "EXECUTABLE": PYTHON,
            **constants,
        }
        for name in ("running", "done", "damaged", "held", "requested", "stopping", "last"):
            (self.run_folder / name).mkdir(parents=True)
        if env is not None:
            self.env_file.write_text(env, encoding="utf-8")
        self._write(textwrap.dedent(function))

    def _write(self, function: str) -> None:
        for name in ("task", "shared", "keiji"):
            (self.folder / name).mkdir(parents=True)
        for module in AUTHORING:
            shutil.copy(source(module), self.folder / "keiji")
        (self.folder / "task" / "function.py").write_text(function, encoding="utf-8")
        write_runner(self.folder, self.constants)
        self._compile()
        (self.folder.parent / "current").symlink_to(self.folder.name)

    def patch(self, name: str, old: str, new: str) -> None:
        """Change a file of the runner in this build."""
        text = (self.folder / name).read_text(encoding="utf-8")
        assert old in text
        (self.folder / name).write_text(text.replace(old, new), encoding="utf-8")
        self._compile()

    def _compile(self) -> None:
        py_compile.compile(str(self.folder / "start.py"), cfile=str(self.folder / START), doraise=True)

    def command(self, name: str, text: str) -> str:
        """A PATH on which `name` is this shell script."""
        folder = self.home / "bin"
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        (folder / name).chmod(0o755)
        return f"{folder}:{os.environ['PATH']}"

    def start(
        self, *arguments: str, stderr: IO[str] | int = subprocess.PIPE, **environ: str
    ) -> subprocess.Popen[str]:
        """Start it as the unit does; the caller ends it."""
        start = self.folder.parent / "current" / START
        usual = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "INVOCATION_ID": RUN_ID}
        return subprocess.Popen(
            [PYTHON, *self.options, str(start), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env={key: value for key, value in {**usual, **environ}.items() if value},
            encoding="utf-8",
        )

    def run(self, *arguments: str, **environ: str) -> Ended:
        return self.end(self.start(*arguments, **environ), environ.get("INVOCATION_ID", RUN_ID))

    def end(self, process: subprocess.Popen[str], run: str = RUN_ID) -> Ended:
        try:
            output, errors = process.communicate(timeout=WAIT)
        finally:
            process.kill()
        return Ended(process.returncode, output, errors, self.record(run))

    def signalled(
        self, number: int = signal.SIGTERM, ready: str = "ready", times: int = 1, **environ: str
    ) -> Ended:
        """A run that is sent the signal each time the function has printed `ready`."""
        process = self.start(**environ)
        assert process.stdout is not None
        for _ in range(times):
            assert process.stdout.readline() == f"{ready}\n"
            process.send_signal(number)
        return self.end(process)

    def record(self, run: str = RUN_ID) -> dict[str, str]:
        """The record of a run that has ended; empty where there is none."""
        return self.read(f"done/{run}", "\nend\n")

    def latch(self) -> dict[str, str]:
        return self.read("held/demo")

    def read(self, name: str, tail: str = "") -> dict[str, str]:
        """The lines of a file in the run folder by their keys."""
        path = self.run_folder / name
        if not path.is_file():
            return {}
        text = path.read_bytes().decode()  # new lines as they are
        assert text.endswith(tail)
        return fields(text)

    def write(self, name: str, text: str = "") -> Path:
        """Write a file of the run folder."""
        path = self.run_folder / name
        path.write_text(text, encoding="utf-8")
        return path

    def files(self) -> set[str]:
        """Every file in the run folder."""
        return {
            str(path.relative_to(self.run_folder)) for path in self.run_folder.rglob("*") if path.is_file()
        }
