"""The store in PostgreSQL: addresses, servers that are away or half there, and what is never told."""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest
from postgres import PASSWORD, Server
from recording import a_run, a_task, connect, new_home, query, ready_store, run_python, settings_of
from relay import Relay

from keiji.errors import StoreUnavailable
from keiji.folders import Folders
from keiji.settings import Settings
from keiji.store import Store, address, open_store, troubles
from keiji.store.engine import Conflict
from keiji.store.postgres import PostgresEngine

pytest.importorskip("psycopg2")

SECRETS = ("hunter2", quote(PASSWORD), quote(PASSWORD, safe=""))


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return new_home(tmp_path)


@pytest.fixture
def schema(postgres: Server, folders: Folders) -> str:
    """The URL of an empty schema."""
    return postgres.new_schema(f"p{abs(hash(folders.home)):x}")


def _store(folders: Folders, url: str, patience: float = 10) -> Store:
    folders.settings.write_text(f"DB_URL={url}\n", encoding="utf-8")
    return open_store(settings_of(folders), patience)


def _said(work: Callable[[], object]) -> str:
    """The message of what goes wrong; neither it nor a traceback tells a secret."""
    with pytest.raises(StoreUnavailable) as caught:
        work()
    whole = "".join(traceback.format_exception(caught.type, caught.value, caught.tb)) + repr(caught.value)
    assert not [secret for secret in SECRETS if secret in whole]
    assert "\n" not in caught.value.message
    return caught.value.message


def _asked(folders: Folders, url: str, patience: float = 10) -> str:
    with _store(folders, url, patience) as store:
        return _said(store.tasks)


# -- addresses --------------------------------------------------------------------------------------


def test_whatever_the_library_understands_in_a_url_connects(postgres, folders, schema, monkeypatch):
    options = {"options": schema.partition("options=")[2].replace("%3D", "=")}
    with_file = folders.home / "pgpass"
    escaped = PASSWORD.replace(":", "\\:")
    with_file.write_text(f"*:*:*:*:{escaped}\n")
    with_file.chmod(0o600)
    urls = [
        schema,
        schema.replace("postgresql://", "postgres://"),
        postgres.socket_url(**options),
        postgres.url(sslmode="disable", connect_timeout="3", **options),
        schema.replace("@127.0.0.1:", "@127.0.0.1:1,127.0.0.1:"),
        schema.replace(f":{quote(PASSWORD, safe='')}@", "@") + f"&passfile={quote(str(with_file))}",
    ]

    for url in urls:
        with _store(folders, url) as store:
            store.migrate()
            assert store.tasks() == []


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p@hunter2@host/db",
        "postgresql://u:12/hunter2@host/db",
        "postgresql://u:hunter2%zz@host/db",
        "postgresql://u:hunter2@host/db?hunter2=1",
        "postgresql://u:hunter2@[::1/db",
    ],
)
def test_of_a_url_that_cannot_be_read_nothing_is_repeated(folders, url):
    store = Settings(folders, db_url=url)

    assert "is no URL that PostgreSQL's library understands" in _said(lambda: open_store(store))


def test_a_url_inside_of_a_url_is_not_repeated(postgres, folders):
    nested = quote("postgresql://u:hunter2@h/d", safe="")

    _asked(folders, postgres.url("").replace("/?", "/") + f"?dbname={nested}")


@pytest.mark.parametrize(
    ("wrong", "meaning"),
    [
        (lambda url, port: url.replace("hunter2", "other"), "refuses the password"),
        (lambda url, port: url.replace(quote(PASSWORD, safe=""), ""), "wants a password"),
        (lambda url, port: url.replace("/keiji?", "/nowhere?"), "there is no PostgreSQL database nowhere at"),
        (lambda url, port: url.replace(f":{port}/", ":1/"), "connection refused"),
        (lambda url, port: url.replace("127.0.0.1", "no.such.host.invalid"), "is unknown"),
        (lambda url, port: "postgresql://u:hunter2@/d?host=/nowhere", "there is no server's socket"),
        (lambda url, port: url + "&sslmode=require", "cannot be reached by TLS"),
        (lambda url, port: url.replace("search_path%3D", "search_path%3Dno"), "has not the schema"),
        (lambda url, port: url + "&target_session_attrs=read-only", "is read-only"),
    ],
)
def test_what_keeps_it_from_connecting_is_said_with_what_to_do(postgres, folders, schema, wrong, meaning):
    message = _asked(folders, wrong(schema, postgres.port))

    assert meaning in message
    assert ": " in message


@pytest.mark.parametrize(
    ("words", "meaning"),
    [
        ("FATAL:  the database system is starting up", "starting up or shutting down: try again"),
        ("FATAL:  the database system is shutting down", "starting up or shutting down: try again"),
        ("FATAL:  sorry, too many clients already", "takes no more connections"),
        ("FATAL:  no pg_hba.conf entry for host", "does not let this user in"),
        ('connection to server at "h" failed: No route to host\n\tIs it', "cannot be reached"),
        ("SSL SYSCALL error: EOF detected: hunter2", "in words that tell a secret"),
        ("something else hunter2", "in words that tell a secret"),
        ("something else", "(something else)"),
    ],
)
def test_words_of_the_library_while_it_connects_are_understood(words, meaning):
    place = address.Address({"password": "hunter2"}, "the PostgreSQL database d at h")

    message = troubles.explained(place, Exception(words), False).message

    assert meaning in message
    assert "hunter2" not in message


@pytest.mark.parametrize(
    ("code", "kind", "meaning"),
    [
        ("53100", StoreUnavailable, "the disk of the server"),
        ("25006", StoreUnavailable, "is read-only"),
        ("42501", StoreUnavailable, "lacks rights"),
        ("55P03", StoreUnavailable, "is being written by another program"),
        ("57014", StoreUnavailable, "takes too long"),
        ("40001", Conflict, "try again"),
        ("40P01", Conflict, "try again"),
    ],
)
def test_codes_of_the_server_are_understood(code, kind, meaning):
    import psycopg2

    error = type("Error", (psycopg2.Error,), {"pgcode": code, "__module__": "psycopg2"})("in Klingon")

    problem = troubles.explained(address.Address({}, "the PostgreSQL database d"), error, False)

    assert type(problem) is kind
    assert meaning in problem.message


@pytest.mark.parametrize(
    ("prefix", "base", "file", "remedy"),
    [
        (
            "/usr",
            "/usr",
            "/usr/lib/python3/dist-packages/keiji/store/address.py",
            "apt install python3-psycopg2",
        ),
        ("/home/u/.local/pipx/venvs/keiji", "/usr", "", "pipx inject keiji"),
        ("/home/u/.local/share/uv/tools/keiji", "/usr", "", "uv tool install"),
        ("/work/.venv", "/usr", "/work/keiji/store/address.py", f"{sys.executable} -m pip install psycopg2"),
    ],
)
def test_a_missing_driver_is_named_with_how_to_install_it_here(prefix, base, file, remedy, monkeypatch):
    monkeypatch.setattr(sys, "prefix", prefix)
    monkeypatch.setattr(sys, "base_prefix", base)
    monkeypatch.setattr(address, "__file__", file)
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    folders = Folders(Path("/w"), Path("/h"))
    wanted = Settings(folders, db_url="postgresql://u:hunter2@h/d")

    message = _said(lambda: open_store(wanted))

    assert "psycopg2 is not installed" in message
    assert remedy in message


def test_no_repr_tells_the_password(postgres, folders, schema):
    with _store(folders, schema) as store:
        store.tasks()
        engine = store._engine
        assert isinstance(engine, PostgresEngine)
        shown = [repr(part) for part in (store, store.settings, engine, engine._address, engine._connection)]

    assert not [text for text in shown for secret in SECRETS if secret in text]


# -- the database as it is found ----------------------------------------------------------------------


def test_a_database_in_another_encoding_is_refused(postgres, folders):
    postgres.sql("CREATE DATABASE latin ENCODING LATIN1 TEMPLATE template0 OWNER keiji")

    assert "make one with ENCODING 'UTF8'" in _asked(folders, postgres.url("latin"))


@pytest.mark.parametrize("table", ["migration", "task"])
def test_tables_of_another_program_are_left_alone(postgres, folders, schema, table):
    name = schema.rpartition("%3D")[2]
    postgres.sql(
        f'CREATE TABLE "{name}".{table} (name text); GRANT ALL ON "{name}".{table} TO keiji', "keiji"
    )

    assert "give keiji a schema of its own" in _asked(folders, schema)
    assert query(folders, "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()") == [(table,)]


def test_a_user_without_rights_is_told_so(postgres, folders):
    postgres.sql("CREATE DATABASE rightless")

    assert "lacks rights" in _asked(folders, postgres.url("rightless"))
    code = """
import sys
from keiji.errors import StoreUnavailable
from keiji.folders import Folders
from keiji.store import open_store
from pathlib import Path
from keiji import settings
try:  # in a process that has not loaded peewee yet
    open_store(settings.load(Folders(Path(sys.argv[1]), Path(sys.argv[2])))[0]).tasks()
except StoreUnavailable as problem:
    print(problem)
"""
    assert "lacks rights" in run_python(code, folders.workspace, folders.home)


def test_ids_are_compared_byte_by_byte_in_a_database_of_any_language(postgres, folders):
    if int(postgres.sql("SHOW server_version_num")[0][0]) < 150000:
        pytest.skip("before PostgreSQL 15 a database's language is one that the machine has")
    postgres.sql("CREATE DATABASE german TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'de' OWNER keiji")
    with _store(folders, postgres.url("german")) as store:
        for name in ("zebra", "a b", "a_c", "ab"):
            store.save_task(a_task(name))

        assert [task.slug for task in store.tasks()] == ["a-b", "a_c", "ab", "zebra"]


def test_looking_loads_neither_peewee_nor_what_writes(postgres, folders, schema):
    _store(folders, schema)
    with ready_store(folders, "ping"):
        pass
    code = """
import sys
from pathlib import Path
from keiji.folders import Folders
from keiji import settings
from keiji.store import open_store
with open_store(settings.load(Folders(Path(sys.argv[1]), Path(sys.argv[2])))[0]) as store:
    assert store.tasks() and store.get_task("ping") and store.last_runs() == {}
    store.mend("ping", False, None)
print("peewee" in sys.modules)
"""
    assert run_python(code, folders.workspace, folders.home) == "False\n"


# -- a server that is away ------------------------------------------------------------------------------


def test_a_store_outlives_the_servers_stop_its_kill_and_the_end_of_its_session(own_postgres, folders):
    with _store(folders, own_postgres.url()) as store:
        store.save_task(a_task())
        for number, end in enumerate((own_postgres.stop, own_postgres.kill)):
            end()
            assert "connection refused" in _said(store.tasks)
            assert "connection refused" in _said(lambda: store.record_runs([a_run()]))
            own_postgres.start()
            assert store.record_runs([a_run(number)]) == 1
            own_postgres.cut()
            assert store.record_runs([a_run(number), a_run(10 + number)]) == 1
            own_postgres.cut()
            assert len(store.runs("ping")) == 2 * number + 2


def test_a_frozen_server_is_given_up_whether_connected_or_not(own_postgres, folders, monkeypatch):
    monkeypatch.setattr("keiji.store.postgres._SHORTEST", 0.1)
    monkeypatch.setattr("keiji.store.postgres._GRACE", 0.1)
    with (
        _store(folders, own_postgres.url(), patience=0.1) as store,
        _store(folders, own_postgres.url(connect_timeout="2")) as other,
    ):
        store.tasks()
        own_postgres.freeze()

        assert "does not answer" in _said(store.tasks)
        assert "does not answer" in _said(other.tasks)
        own_postgres.thaw()
        assert store.tasks() == other.tasks() == []


def test_a_network_that_falls_silent_anywhere_is_given_up(postgres, folders, schema, monkeypatch):
    monkeypatch.setattr("keiji.store.postgres._SHORTEST", 0.1)
    monkeypatch.setattr("keiji.store.postgres._GRACE", 0.1)
    with Relay(postgres.port) as relay:
        url = schema.replace(f":{postgres.port}/", f":{relay.port}/") + "&connect_timeout=2"
        for is_connected in (True, False):
            with _store(folders, url, patience=0.1) as store:
                store.migrate()
                if not is_connected:
                    store.close()
                relay.silence()
                assert "does not answer" in _said(lambda store=store: store.record_runs([a_run()]))
                relay.hear()
                assert store.tasks() == []


def test_a_connection_that_is_cut_anywhere_loses_and_doubles_nothing(postgres, folders, schema):
    with _store(folders, schema) as store:
        store.save_task(a_task())
    cuts = []
    with Relay(postgres.port) as relay:
        url = schema.replace(f":{postgres.port}/", f":{relay.port}/")
        for count in range(1, 1500, 50):
            relay.cut_after = count
            with _store(folders, url) as store:
                try:
                    store.record_runs([a_run(count)])
                except StoreUnavailable as problem:
                    cuts.append(problem.message)
            with _store(folders, schema) as store:
                store.record_runs([a_run(count)])
                assert [run.id for run in store.runs("ping", 1)] == [a_run(count).id]
    with _store(folders, schema) as store:
        assert len(store.runs("ping")) == len(range(1, 1500, 50))
    assert len(cuts) > 10
    assert {" was lost: " in message for message in cuts} == {True}


def test_a_commit_of_runs_is_on_the_disk_also_where_the_server_would_not_wait(
    postgres, folders, schema, monkeypatch
):
    seen = []

    def look(database, *_):
        seen.append(database.execute_sql("SHOW synchronous_commit").fetchone()[0])
        return 0

    with _store(folders, schema + "%20-csynchronous_commit%3Doff") as store:
        store.save_task(a_task())
        monkeypatch.setattr("keiji.store.models.record", look)
        monkeypatch.setattr("keiji.store.models.delete_task", look)
        store.record_runs([a_run()])
        store.delete_task("ping")

    assert seen == ["on", "off"]


def test_a_write_that_another_transaction_crossed_is_done_again(postgres, folders, schema, monkeypatch):
    from keiji.store import models

    real, tries = models.record, []

    def crossed(*arguments):
        tries.append(arguments)
        if len(tries) < 3:
            raise Conflict("a deadlock")
        return real(*arguments)

    monkeypatch.setattr(models, "record", crossed)
    with _store(folders, schema) as store:
        store.save_task(a_task())

        assert store.record_runs([a_run()]) == 1
    assert len(tries) == 3


def test_a_real_deadlock_is_gone_by_the_second_try(postgres, folders, schema):
    tries = []
    set_build = "UPDATE task SET build = %s WHERE slug = %s"

    def cross(models, database, host):
        tries.append(host)
        database.execute_sql(set_build, ("mine", "a"))
        if len(tries) == 1:
            crossing.start()
        database.execute_sql(set_build, ("mine", "b"))  # the other has it, and waits for this one's

    def close_the_circle():
        waiting = (
            "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'UPDATE task%'"
        )
        while not postgres.sql(waiting):
            pass  # who waits first is who finds the deadlock
        other.cursor().execute(set_build + "; COMMIT", ("theirs", "a"))

    with _store(folders, schema) as store, closing(connect(folders)) as other:
        for slug in ("a", "b"):
            store.save_task(a_task(slug))
        other.cursor().execute("BEGIN; " + set_build, ("theirs", "b"))
        crossing = threading.Thread(target=close_the_circle)

        store._write(cross)
        crossing.join()

        assert len(tries) == 2
        assert [task.build for task in store.tasks()] == ["mine", "mine"]
