"""Stand-ins for systemd's programs, which answer what a test says and note how they were called."""

from __future__ import annotations

import json
import sys
from pathlib import Path

STAND_IN = """\
#!{python} -IS
import json, pathlib, sys

words = sys.argv[1:]
with open("{folder}/calls", "a") as calls:
    calls.write(" ".join([pathlib.Path(sys.argv[0]).name, *words]) + "\\n")
answers = json.loads(pathlib.Path("{folder}/answers").read_text())
for part, (status, said, complaint) in reversed(answers.items()):
    if part in words or part == pathlib.Path(sys.argv[0]).name:
        sys.stdout.write(said)
        sys.stderr.write(complaint)
        sys.exit(status)
"""
LOADED = {
    "LoadState": "loaded",
    "ActiveState": "inactive",
    "Result": "success",
    "InvocationID": "",
    "FragmentPath": "/home/ada/.local/share/systemd/user/io.keiji.Bus1.service",
    "DropInPaths": "",
    "ExecStart": f"{{ path={sys.executable} ; argv[]={sys.executable} -m x ; ignore_errors=no }}",
    "ActiveEnterTimestampMonotonic": "0",
    "InactiveExitTimestampMonotonic": "0",
}
RUN = "a" * 32


class Programs:
    """What the stand-ins answer: a word of the call, or the program → exit status, stdout, stderr.

    What was said last counts first.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("bin", "runtime"):
            (folder / name).mkdir()
        for name in ("systemctl", "busctl", "journalctl", "timedatectl"):
            script = folder / "bin" / name
            script.write_text(STAND_IN.format(python=sys.executable, folder=folder))
            script.chmod(0o755)
        self.answers: dict[str, tuple[int, str, str]] = {}
        self.bus_has_owner(False)
        self.unit_is()

    def answer(self, word: str, status: int = 0, said: str = "", complaint: str = "") -> None:
        self.answers.pop(word, None)
        self.answers[word] = (status, said, complaint)
        (self.folder / "answers").write_text(json.dumps(self.answers))

    def unit_is(self, **changes: str) -> None:
        """What the bus service's unit is, and any other's of which nothing else is said."""
        self.answer("show", said="".join(f"{k}={v}\n" for k, v in {**LOADED, **changes}.items()))

    def bus_has_owner(self, has: bool) -> None:
        self.answer("NameHasOwner", said=f"b {str(has).lower()}\n")

    def calls(self) -> list[str]:
        file = self.folder / "calls"
        return file.read_text().splitlines() if file.exists() else []

    def asked(self, word: str) -> list[str]:
        return [call for call in self.calls() if word in call.split()]
