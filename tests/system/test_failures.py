"""Failures that come together."""

from __future__ import annotations

import random
import time

KILLS_ITSELF = "def function():\n    import os\n    os.kill(os.getpid(), 9)\n"
DAILY = "Schedule().run().every(24).hours()"


def test_runs_that_are_killed_at_about_the_same_time_are_all_held_though_nobody_looks(
    keiji, systemctl, wait_for
):
    keiji("init")
    slugs = [f"t{number}" for number in range(12)]
    for slug in slugs:
        keiji.write_task(slug, KILLS_ITSELF, DAILY)
    keiji("task", "build", "--all")
    keiji("system", "start")

    for slug in slugs:
        systemctl("start", "--no-block", f"keiji-{slug}.service")
        time.sleep(random.uniform(0, 0.2))  # some while the handler works, some as it ends

    held = keiji.home / "run" / "held"
    wait_for(lambda: {path.name for path in held.iterdir()} == {*slugs}, "all to be held")
    wait_for(lambda: not systemctl("list-units", "--plain", "--no-legend", "keiji-*.timer"), "timers to rest")
