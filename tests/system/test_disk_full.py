"""No room is left where keiji writes: runs go on and say so, and with room again all is as before."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest
from counting import EVERY_HOUR, Counted, build, fire

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root may mount a disk of its own")
FAILS = "raise ValueError('no such host')"


@pytest.fixture
def small_disk(keiji):
    """A disk of its own for the system folder."""
    keiji.home.mkdir(mode=0o700)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=32m,nr_inodes=4000,mode=700", "tmpfs", keiji.home], check=True
    )
    yield keiji.home
    subprocess.run(["umount", "--lazy", keiji.home], check=True)


@contextmanager
def full(disk, of):
    """The disk holds no more bytes, or no more files."""
    filler = disk / "filler"
    filler.mkdir()
    with (filler / "bytes").open("wb", buffering=0) as file:
        try:
            for number in itertools.count():
                _ = file.write(bytes(4096)) if of == "bytes" else (filler / str(number)).touch()
        except OSError as problem:
            if problem.errno != errno.ENOSPC:
                raise
    yield
    shutil.rmtree(filler)


def unrecorded(task):
    """How many runs said in their log that they could not be recorded."""
    return log_of(task).count("cannot be recorded")


def log_of(task):
    return task.keiji("task", "logs", task.slug, "-n", "1000").stdout


def missing(task):
    """The runs that began and are not in the history; what is there is there once."""
    recorded = [run["id"] for run in task.recorded()]
    assert len(recorded) == len({*recorded})
    lost = {*task.begun()} - {*recorded}
    print(f"{task.slug}: {len(task.begun())} begun, {len(recorded)} recorded, {len(lost)} not")
    return lost


def installed(systemctl):
    """The units with their text, and which of the timers are active."""
    folder = Path(os.environ["XDG_CONFIG_HOME"], "systemd", "user")
    texts = {path.name: path.read_text() for path in folder.glob("keiji-*")}
    links = sorted(path.name for path in (folder / "keiji.target.wants").iterdir())
    return texts, links, systemctl("list-units", "--plain", "--no-legend", "--state=active", "keiji-*.timer")


@pytest.mark.parametrize("of", ["bytes", "files"])
def test_runs_go_on_while_the_disk_is_full(keiji, wait_for, systemctl, small_disk, tmp_path, of):
    keiji("init")
    # The journal keeps what tasks of an earlier test said.
    going = Counted(keiji, tmp_path, f"going {of}")
    failing = Counted(keiji, tmp_path, f"failing {of}", FAILS, EVERY_HOUR)
    build(keiji)
    wait_for(going.begun, "a run")

    with full(small_disk, of):
        began = len(going.begun())
        fire(failing)
        wait_for(lambda: unrecorded(going) and unrecorded(failing), "what could not be recorded to be told")
        wait_for(
            lambda: systemctl("is-active", f"keiji-{failing.slug}.timer") == "inactive",
            "the failed task to rest",
        )
        wait_for(lambda: len(going.begun()) > began + 1, "the other to go on")
        if of == "bytes":  # else its timer alone rests
            fire(failing)
            failing.rest(wait_for)

    wait_for(lambda: len(going.begun()) - len(missing(going)) > 1, "a run that is recorded again")
    going.rest(wait_for)
    assert len(missing(going)) == unrecorded(going)
    systemctl("start", "io.keiji.housekeeping.service")
    assert len(failing.begun()) == 1
    assert not missing(failing)
    assert [path.name for path in (small_disk / "run" / "held").iterdir()] == [failing.slug]
    assert not [*(small_disk / "run" / "running").iterdir()]
    said = keiji("task", "resolve", failing.slug).stdout
    if of != "bytes":  # no latch could be made, so it was disabled, which its log says
        assert "disabled instead" in log_of(failing)
        said = keiji("task", "enable", failing.slug).stdout
    assert "armed, next time" in said


@pytest.mark.parametrize("of", ["bytes", "files"])
def test_commands_change_nothing_while_the_disk_is_full_but_those_that_stop(
    keiji, wait_for, systemctl, small_disk, tmp_path, of
):
    keiji("init")
    counted = Counted(keiji, tmp_path, "t", schedule=EVERY_HOUR)
    build(keiji)
    with (keiji.workspace / "tasks" / "t" / "function.py").open("a") as file:
        file.write("    print('changed')\n")
    before = installed(systemctl)

    with full(small_disk, of):
        for words in (
            *(("task", verb, "t") for verb in ("build", "run", "restart", "enable", "delete")),
            *(("task", "list"), ("task", "history", "t"), ("system", "update"), ("init",)),
        ):
            said = keiji(*words, status=1).stderr
            print(words, said)
            assert (said.count("\n"), installed(systemctl)) == (1, before)
            assert any(word in said for word in ("full", "No space left", "takes more files"))
            assert "~" not in said, "what is temporary is nobody's"
        keiji("task", "stop", "t")
        keiji("task", "disable", "t")
        assert systemctl("is-active", "keiji-t.timer") == "inactive"

    keiji("task", "enable", "t")
    assert "built" in keiji("task", "build", "t").stdout
    keiji("task", "run", "t")
    assert counted.is_complete()
