"""The files of a build that run it: ``start.py``, of the runner and the build's constants, and its helpers.

One file, given to the interpreter as byte code (``start.pyc``): a stub that imports the runner and its
constants costs a twentieth of a firing.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

START = "start.pyc"
"""What a unit executes; made of ``start.py`` by the interpreter that will run it."""

_HERE = Path(__file__).parent


def write_runner(folder: Path, constants: Mapping[str, object]) -> None:
    """Write ``start.py`` and its helpers into the build; byte-compiling is the caller's.

    `constants` are plain values, by the names that `runner` reads from its `config`. Sources are
    the same for the same constants, so they may be hashed.
    """
    runner = (_HERE / "runner.py").read_text(encoding="utf-8")
    lines = "".join(f"    {name} = {value!r}\n" for name, value in sorted(constants.items()))
    text = f'{runner}\n\nclass config:\n{lines}\n\nif __name__ == "__main__":\n    main(config, __file__)\n'
    (folder / "start.py").write_text(text, encoding="utf-8")
    elsewhere = () if constants["HOST"] == "linux" else ("runner_launchd.py", "runner_loop.py")
    for name in ("runner_rare.py", "runner_tries.py", "runner_logs.py", "runner_files.py", *elsewhere):
        source = (_HERE / name).read_text(encoding="utf-8")
        (folder / f"keiji_{name}").write_text(source, encoding="utf-8")
