"""Whoever delivers is killed while tasks fire: each run that began is in the history once."""

from __future__ import annotations

import random
import subprocess
import sys

from counting import Counted, build


def test_readers_that_are_killed_all_the_while_lose_and_double_no_run(keiji, wait_for, systemctl, tmp_path):
    keiji("init")
    tasks = [Counted(keiji, tmp_path, f"killed{number}") for number in range(3)]
    build(keiji)
    chance, kills = random.Random(11), 0

    while kills < 12 or min(len(task.begun()) for task in tasks) < 4:
        systemctl("start", "--no-block", "io.keiji.Bus1.service")  # it delivers, too
        readers = [
            subprocess.Popen(
                [sys.executable, "-m", "keiji", "task", "list"],
                env=keiji.environment,
                stdout=subprocess.DEVNULL,
            )
            for _ in range(2)
        ]
        for reader in readers:  # the moment is what is tried: all of a look's length
            try:
                reader.wait(chance.uniform(0, 0.6))
            except subprocess.TimeoutExpired:
                reader.kill()
            kills += reader.wait() == -9
        systemctl("kill", "--signal=KILL", "io.keiji.Bus1.service")

    for task in tasks:
        task.rest(wait_for)
        assert task.is_complete()
