"""The PostgreSQL of the tests starts, suffers what it must, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from relay import Relay

pytest.importorskip("psycopg2")
import psycopg2

ROOT = Path(__file__).parents[2]


def _ask(url: str) -> str:
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT current_user || current_schema()")
        return str(cursor.fetchone()[0])


def test_it_answers_by_loopback_with_a_password_and_by_its_socket(postgres):
    assert _ask(postgres.url()) == _ask(postgres.socket_url()) == "keijipublic"
    with pytest.raises(psycopg2.OperationalError, match="password"):
        psycopg2.connect(postgres.url(), password="wrong")


def test_a_schema_and_a_database_may_be_had_for_each_test(postgres):
    assert _ask(postgres.new_schema("mine")) == "keijimine"
    assert _ask(postgres.new_database("harness_mine")) == "keijipublic"


def test_it_may_be_stopped_killed_frozen_and_its_sessions_ended(own_postgres):
    for end in (own_postgres.stop, own_postgres.kill):
        end()
        assert not own_postgres.is_running
        with pytest.raises(psycopg2.OperationalError):
            psycopg2.connect(own_postgres.url())
        own_postgres.start()
    with closing(psycopg2.connect(own_postgres.url())) as connection:
        own_postgres.cut()
        with pytest.raises(psycopg2.OperationalError), connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    own_postgres.freeze()
    with closing(socket.create_connection(("127.0.0.1", own_postgres.port))) as asking:
        asking.setblocking(False)
        asking.send(b"\0\0\0\x08\x04\xd2\x16\x2f")  # may it be TLS?
        with pytest.raises(BlockingIOError):
            asking.recv(1)
        own_postgres.thaw()
        asking.setblocking(True)
        assert asking.recv(1) == b"N"


def test_a_relay_cuts_and_silences(postgres):
    with Relay(postgres.port) as relay:
        assert _ask(postgres.url_at(relay.port)) == "keijipublic"
        relay.cut_after = 40
        with pytest.raises(psycopg2.OperationalError):
            _ask(postgres.url_at(relay.port))
        assert relay.accepted == 2


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_goes_with_the_tests_however_they_end(number):
    code = "from postgres import Server\nserver = Server()\nprint(server.folder, flush=True)\n"
    code += "server.freeze()\nprint(flush=True)\nimport time\ntime.sleep(600)"
    environ = {**os.environ, "PYTHONPATH": str(ROOT / "tests" / "harness")}
    tests = subprocess.Popen([sys.executable, "-c", code], env=environ, stdout=subprocess.PIPE, text=True)
    assert tests.stdout is not None
    folder = Path(tests.stdout.readline().strip())
    assert tests.stdout.readline()
    assert folder.is_dir()
    held = os.open(folder, os.O_RDONLY)
    tests.send_signal(number)
    tests.wait()

    import fcntl

    fcntl.flock(held, fcntl.LOCK_EX)  # the keeper lets go of it when all is removed
    os.close(held)
    assert not folder.exists()
