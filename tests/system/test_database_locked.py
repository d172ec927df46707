"""Another program holds the database: runs go on, commands say so or don't need it, and nothing is lost."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

from counting import EVERY_HOUR, Counted, build, fire


@contextmanager
def locked(keiji):
    with closing(sqlite3.connect(keiji.home / "db" / "keiji.db", isolation_level=None)) as other:
        other.execute("PRAGMA busy_timeout = 60000")
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


def test_a_database_that_is_locked_for_long_costs_no_run_its_record(keiji, wait_for, tmp_path):
    keiji("init")
    going, off = [Counted(keiji, tmp_path, slug) for slug in ("going", "off")]
    ended = Counted(keiji, tmp_path, "ended", "import time\ntime.sleep(600)", EVERY_HOUR)
    tasks = (going, off, ended)
    build(keiji)
    fire(ended)
    wait_for(lambda: all(task.begun() for task in tasks), "each to fire")

    with locked(keiji):
        before = len(going.begun())
        wait_for(lambda: len(going.begun()) > before, "a record that waits")
        needing = (("task", "list"), ("task", "history", "going"), ("task", "get", "off"))
        with ThreadPoolExecutor() as pool:
            refused = [pool.submit(keiji, *words, status=1) for words in needing]
            assert "stopped; the schedule goes on" in keiji("task", "stop", "ended").stdout
            assert "disabled" in keiji("task", "disable", "off").stdout
            keiji("task", "logs", "going")
            keiji("task", "next", "going")
            said = [it.result().stderr for it in refused]
        during = len(going.begun()) - before

    for line in said:
        assert line.count("\n") == 1
        assert "is being written by another program: try again" in line
    assert during >= 5
    for task in tasks:
        task.rest(wait_for)
        assert task.is_complete()
