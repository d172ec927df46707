"""The README's walk: its files are written, its commands run, and each prints what the page says."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"
WALK = "## One task, from create to delete"
# What differs from run to run, and what it is written as before both sides are compared.
CHANGING = (
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID"),
    (r"\b([0-9a-f]{32}|[0-9a-f]{16}|[0-9a-f]{12})\b", "HASH"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?([+-]\d\d:\d\d)?", "TIME"),
    (r"\b(Mon|Tue|Wed|Thu|Fri|Sat|Sun) TIME \w+", "TIME"),
    (r"\b\d\d:\d\d:\d\d\b", "TIME"),
    (r"tzdata \w+", "tzdata VERSION"),
    (r"until \d{4}-\d\d-\d\d", "until DATE"),
    (r"python3\.\d+", "python3"),
    (r"\b\d+(\.\d+)?(ms|s|min|h)\b( \d+(s|min)\b)?", "LENGTH"),
    (r"[ \t]+", " "),
)
UNTOLD = ("note: lingering is off", "note: making the workspace's environment")


def blocks():
    """The walk's fenced blocks in their order: language and lines."""
    walk = README.read_text(encoding="utf-8").split(WALK, 1)[1].split("\n## ", 1)[0]
    return [
        (found[1], found[2].splitlines()) for found in re.finditer(r"```(\w+)\n(.*?)```", walk, re.DOTALL)
    ]


def examples(lines):
    """A console block's commands, each with what it prints."""
    for line in lines:
        if line.startswith("$ "):
            command, printed = line[2:], []
            yield command, printed
        else:
            printed.append(line)


def plain(lines):
    text = "\n".join(line for line in lines if not line.startswith(UNTOLD))
    text = text.replace(os.environ["HOME"], "/home/you")
    for pattern, word in CHANGING:
        text = re.sub(pattern, word, text)
    return [line.rstrip() for line in text.strip().splitlines()]


@pytest.fixture
def cleared(swept):
    """What the walk leaves is gone after the test: the README's reader is at home, not in a test's folder."""
    yield
    for path in (Path("/tmp/photos"), Path.home() / "keiji", Path.home() / ".keiji"):
        shutil.rmtree(path, ignore_errors=True)


def test_each_command_prints_what_the_page_says(cleared, tmp_path):
    (tmp_path / "keiji").write_text(f'#!/bin/sh\nexec {sys.executable} -m keiji "$@"\n')
    (tmp_path / "keiji").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"}

    for language, lines in blocks():
        if language == "python":
            path = Path(lines[0].removeprefix("# ")).expanduser()
            path.write_text("\n".join(lines[1:]) + "\n", encoding="utf-8")
            continue
        for command, printed in list(examples(lines)):
            done = subprocess.run(
                ["bash", "-c", f"{command} 2>&1"],
                env=environment,
                cwd=environment["HOME"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                text=True,
                timeout=120,
                check=False,
            )
            assert plain(done.stdout.splitlines()) == plain(printed), f"$ {command}"
