"""What the probe asks launchd and is answered, and the agents that it loads and removes again."""

from __future__ import annotations

import contextlib
import os
import plistlib
import re
import secrets
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PREFIX = "io.keiji.probe."
LONG = 5.0  # seconds; whoever is in a hurry waits no longer
_PAUSE = 0.05


@dataclass(frozen=True)
class Answer:
    """`status` is None where launchctl never answered."""

    status: int | None
    out: str
    err: str


class Recorder:
    """Steps, each with its calls of `launchctl` and what else was noted."""

    def __init__(self, folder: Path, is_quick: bool) -> None:
        self.folder = folder
        self.is_quick = is_quick
        self.gui, self.user = f"gui/{os.getuid()}", f"user/{os.getuid()}"
        self.steps: list[dict[str, Any]] = []

    def begin(self, name: str) -> dict[str, Any]:
        step: dict[str, Any] = {"name": name, "calls": [], "notes": {}}
        self.steps.append(step)
        return step

    def note(self, name: str, value: object) -> None:
        self.steps[-1]["notes"][name] = value

    def call(self, *words: str) -> Answer:
        return self.until(lambda _: True, *words)

    def until(self, holds: Callable[[Answer], bool], *words: str, patience: float = 40.0) -> Answer:
        """Ask again and again; the last answer is recorded, with how often and how long it was asked."""
        began, times = time.monotonic(), 0
        ends = began + (LONG if self.is_quick else patience)
        while True:
            answer, times = _asked(words), times + 1
            is_met = holds(answer)
            if is_met or time.monotonic() > ends:
                break
            time.sleep(_PAUSE)
        tells_all = words == ("list",) or words[0] == "print-disabled"  # and the record may be published
        out = _own(answer.out) if tells_all else answer.out
        self.steps[-1]["calls"].append(
            {
                "argv": ["launchctl", *words],
                "rc": answer.status,
                "stdout": out,
                "stderr": answer.err,
                "seconds": round(time.monotonic() - began, 3),
                "asked": times,
                "met": is_met,
            }
        )
        return answer

    def wait(self, holds: Callable[[], object], patience: float) -> bool:
        """Wait for something else; whether it came. Not for long where it is to be quick."""
        if self.is_quick and patience > LONG:
            self.note("left out", f"a wait of {patience:.0f} s")
            return False
        ends = time.monotonic() + patience
        while not holds():
            if time.monotonic() > ends:
                return False
            time.sleep(_PAUSE)
        return True

    @contextlib.contextmanager
    def agent(
        self, what: str | list[str], domain: str = "", mode: int = 0o644, **keys: Any
    ) -> Iterator[Agent]:
        """An agent that isn't loaded yet; removed at the end, whatever happens. `what`: its words, or a
        script for sh in which ``$0`` is a file for its marks."""
        label = PREFIX + secrets.token_hex(6)
        folder = Path.home() / "Library" / "LaunchAgents"
        made = [each for each in (folder, folder.parent) if not each.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        found = Agent(self, domain or self.gui, label, folder / f"{label}.plist")
        try:
            found.write(what, keys, mode)
            yield found
        finally:
            with _undisturbed():
                found.leave()
                for each in made:
                    with contextlib.suppress(OSError):
                        each.rmdir()


@dataclass
class Agent:
    recorder: Recorder
    domain: str
    label: str
    path: Path
    was_disabled: bool = False

    @property
    def target(self) -> str:
        return f"{self.domain}/{self.label}"

    @property
    def marks(self) -> Path:
        return self.recorder.folder / f"{self.label}.marks"

    @property
    def complaints(self) -> Path:
        return self.recorder.folder / f"{self.label}.err"

    def write(self, what: str | list[str], keys: dict[str, Any], mode: int) -> None:
        words = ["/bin/sh", "-c", what, str(self.marks)] if isinstance(what, str) else what
        plist = {"Label": self.label, "ProgramArguments": words, "StandardErrorPath": str(self.complaints)}
        plist["LimitLoadToSessionType"] = ["Aqua", "Background"]
        self.path.write_bytes(plistlib.dumps({**plist, **keys}))
        self.path.chmod(mode)

    def bootstrap(self) -> Answer:
        return self.recorder.call("bootstrap", self.domain, str(self.path))

    def call(self, verb: str, *more: str) -> Answer:
        self.was_disabled |= verb == "disable"
        return self.recorder.call(verb, *more, self.target)

    def shows(self, pattern: str, patience: float = 40.0) -> Answer:
        """`print` until it has a line of the agent's own like that."""
        line = re.compile(rf"^\t{pattern}", re.MULTILINE)
        return self.recorder.until(
            lambda answer: bool(line.search(answer.out)), "print", self.target, patience=patience
        )

    def is_gone(self) -> Answer:
        return self.recorder.until(lambda answer: answer.status != 0, "print", self.target)

    def times(self) -> list[float]:
        """The marks that its script has made: ``date +%s``."""
        return [float(line) for line in self.marks.read_text().split()] if self.marks.exists() else []

    def leave(self) -> None:
        """Loaded or not, and whatever its step has left unsaid."""
        try:
            if self.call("bootout").status == 0:
                self.is_gone()
            if self.was_disabled:
                self.call("enable")
        finally:
            self.path.unlink(missing_ok=True)
        if self.complaints.exists() and (said := self.complaints.read_text(errors="replace")):
            self.recorder.note("complaints", said[-2000:])


def _asked(words: tuple[str, ...]) -> Answer:
    try:
        done = subprocess.run(
            ["launchctl", *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=120,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Answer(None, "", "")
    return Answer(done.returncode, done.stdout, done.stderr)


def _own(text: str) -> str:
    """Its first and last lines and those of the probe's labels."""
    lines = text.splitlines(keepends=True)
    kept = [line for line in lines[1:-1] if PREFIX in line]
    left_out = f"({max(0, len(lines) - 2 - len(kept))} lines of others)\n"
    return "".join([*lines[:1], left_out, *kept, *lines[-1:]])


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Whoever is impatient can't keep an agent from being removed."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
