"""A build made by hand, for running the runner as a unit does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

from keiji.runner_start import START, write_runner

PYTHON = os.environ.get("KEIJI_TEST_PYTHON") or str(Path(sys.executable).resolve())
_COMPILE = """\
import functools, py_compile
mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
compile = functools.partial(py_compile.compile, doraise=True, invalidation_mode=mode)"""
RUN_ID = "0123456789abcdef0123456789abcdef"


class Build:
    """The system folder of one task, `demo`, whose build is named by `current`."""

    def __init__(self, home: Path, source: str = "", env: str | None = "", **config: object) -> None:
        self.home = home
        self.folder = home / "exec" / "tasks" / "demo" / "abc"
        self.env_file = home / "demo.env"
        self.config = {
            "SLUG": "demo",
            "NAME": "Demo",
            "DESCRIPTION": "shows it",
            "BUILD": "abc",
            "HOME": str(home),
            "ENV_FILE": str(self.env_file),
            "HOST": "linux",
            "KIND": "HMS",
            "PERIOD": 0,
            "PHASE": 0.0,
            "CATCH_UP": False,
            "GUARD": "",
            "GRACE": 60.0,
            "JITTER": 0,
            "SCHEDULE": {},
            "TRIES": 1,
            "DELAY": 0,
            "BACKOFF": 1,
            "TIMEOUT": 0,
            "HOLD": True,
            "PATHS": ["{build}/task", "{build}/shared"],
            "PREFIX": str(home / "venv"),
            "EXECUTABLE": str(home / "venv" / "bin" / "python"),
            "LIMIT": 0,
            **config,
        }
        for name in ("running", "done", "damaged", "held", "requested", "stopping", "last"):
            (home / "run" / name).mkdir(parents=True)
        if env is not None:
            self.env_file.write_text(env)
        self._write(textwrap.dedent(source))

    def _write(self, source: str) -> None:
        for name in ("task", "shared"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "task" / "function.py").write_text(
            source or "def function():\n    print('Pinging…')\n"
        )
        write_runner(self.folder, self.config)
        script = f"{_COMPILE}\ncompile('start.py', cfile={START!r})"
        subprocess.run([PYTHON, "-I", "-S", "-c", script], cwd=self.folder, check=True)
        (self.folder.parent / "current").symlink_to(self.folder.name)

    def compile(self) -> None:
        """Byte-compile what is imported, too."""
        names = [str(path) for path in self.folder.rglob("*.py")]
        script = f"{_COMPILE}\nfor name in {names}: compile(name)"
        subprocess.run([PYTHON, "-I", "-S", "-c", script], check=True)

    @property
    def run_folder(self) -> Path:
        return self.home / "run"

    def start(self, *arguments: str, **environ: str) -> subprocess.Popen[str]:
        """Start it as the unit does; ends are awaited by the caller."""
        start = self.folder.parent / "current" / START
        return subprocess.Popen(
            [PYTHON, "-I", "-S", "-u", str(start), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "INVOCATION_ID": RUN_ID, **environ},
            encoding="utf-8",
        )

    def run(self, *arguments: str, **environ: str) -> Ended:
        process = self.start(*arguments, **environ)
        return self.end(process)

    def end(self, process: subprocess.Popen[str]) -> Ended:
        try:
            output, errors = process.communicate(timeout=60)
        finally:
            process.kill()
        return Ended(process.returncode, output, errors, self.record())

    def stop(self, process: subprocess.Popen[str], ready: str = "ready\n") -> Ended:
        """Send SIGTERM once the function has printed `ready`."""
        assert process.stdout is not None
        assert process.stdout.readline() == ready
        process.send_signal(signal.SIGTERM)
        return self.end(process)

    def record(self, run_id: str = RUN_ID) -> dict[str, str]:
        """The run's record by key, or nothing."""
        path = self.run_folder / "done" / run_id
        return read_lines(path) if path.exists() else {}

    def latch(self) -> dict[str, str]:
        path = self.run_folder / "held" / "demo"
        return read_lines(path) if path.exists() else {}

    def left(self) -> list[str]:
        """Every file in the run folders that is not a record of this run, a latch or what is remembered."""
        usual = {f"done/{RUN_ID}", "held/demo", "last/demo"}
        files = {
            str(path.relative_to(self.run_folder)) for path in self.run_folder.rglob("*") if path.is_file()
        }
        return sorted(files - usual)


class Ended:
    """How a start ended: its exit status, what it printed, and its record."""

    def __init__(self, status: int, output: str, errors: str, record: dict[str, str]) -> None:
        self.status = status
        self.output = output
        self.errors = errors
        self.record = record

    @property
    def result(self) -> str | None:
        return self.record.get("result")


def read_lines(path: Path) -> dict[str, str]:
    """A run file or a latch, unescaped; the first and last line under their own words."""
    found = {}
    for text in path.read_text().split("\n")[:-1]:
        key, _, value = text.replace(" ", "=", 1).partition("=") if text == "keiji 1" else text.partition("=")
        found[key] = value.replace("\\n", "\n").replace("\\\\", "\\")
    return found
