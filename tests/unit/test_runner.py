"""The way of a run that nothing goes wrong with, and what a function meets there."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from runner_build import PYTHON, RUN_ID, WAIT, Build

from keiji import runfile
from keiji.run import Result

HELLO = """\
    def function():
        print("Pinging…")
"""


def printed(home: Path, function: str, **others: object) -> object:
    """What a function prints as JSON."""
    ended = Build(home, function, **others).run()
    assert ended.status == 0, ended.errors
    return json.loads(ended.output)


def test_a_run_that_succeeds_leaves_its_record_and_nothing_else(tmp_path: Path) -> None:
    build = Build(tmp_path, HELLO)

    ended = build.run()

    assert (ended.status, ended.output, ended.errors) == (0, "Pinging…\n", "")
    assert build.files() == {f"done/{RUN_ID}"}


def test_the_record_is_what_the_ledger_reads(tmp_path: Path) -> None:
    build = Build(tmp_path, HELLO)
    build.run()

    entry = runfile.read(build.run_folder / "done" / RUN_ID)

    assert (entry.id, entry.task, entry.build, entry.why) == (RUN_ID, "demo", "abc", "timer")
    assert (entry.result, entry.status, entry.signal, entry.attempts) == (Result.SUCCEEDED, 0, None, 1)
    assert entry.boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert entry.ended is not None
    assert entry.began <= entry.ended
    assert entry.cpu is not None
    assert 0 < entry.cpu < 60
    assert entry.memory is not None
    assert 1 << 20 < entry.memory < 1 << 30
    assert entry.error == ""


def test_a_run_in_progress_can_be_read(tmp_path: Path) -> None:
    read = "print(open('{}').read(), end='')".format(tmp_path / "run" / "running" / "demo")
    build = Build(tmp_path, f"def function():\n    {read}\n")

    ended = build.run()

    entry = runfile.parse(ended.output)
    assert (entry.id, entry.result, str(entry.pid)) == (RUN_ID, None, ended.record["pid"])


def test_only_built_in_modules_are_imported_on_the_way(tmp_path: Path) -> None:
    modules = "__import__('sys').modules"
    build = Build(tmp_path, f"def function():\n    print(*{modules})\n", env="A='b c'\n")
    bare = subprocess.run(
        [PYTHON, "-I", "-S", "-c", f"print(*{modules})"], stdout=subprocess.PIPE, check=True, encoding="utf-8"
    )

    more = set(build.run(JOURNAL_STREAM="1:1").output.split()) - set(bare.stdout.split())

    assert more - set(sys.builtin_module_names) == {"function"}


def test_a_manual_request_is_used_up(tmp_path: Path) -> None:
    build = Build(tmp_path, HELLO)
    marker = build.write("requested/demo")

    assert build.run().record["why"] == "manual"
    assert not marker.exists()


def test_a_task_at_boot_ran_because_of_it(tmp_path: Path) -> None:
    assert Build(tmp_path, HELLO, KIND="Boot").run().record["why"] == "boot"


@pytest.mark.parametrize("given", ["", "../../../etc/passwd", "0123"])
def test_without_a_usable_invocation_id_a_run_makes_its_own(tmp_path: Path, given: str) -> None:
    build = Build(tmp_path, HELLO)

    assert build.run(INVOCATION_ID=given).status == 0
    (name,) = build.files()
    assert re.fullmatch(r"done/[0-9a-f]{32}", name)


def test_what_is_imported_late_comes_from_the_build_that_began(tmp_path: Path) -> None:
    build = Build(
        tmp_path,
        """\
        import os, shutil
        def function():
            builds = os.environ["BUILDS"]
            shutil.copytree(f"{builds}/abc", f"{builds}/new")
            with open(f"{builds}/new/task/late.py", "w") as file:
                file.write("name = 'new'")
            os.symlink("new", f"{builds}/.next")
            os.rename(f"{builds}/.next", f"{builds}/current")
            from late import name
            print(name)
        """,
        env=f"BUILDS={tmp_path / 'exec/tasks/demo'}\n",
    )
    (build.folder / "task" / "late.py").write_text("name = 'old'")

    assert build.run().output == "old\n"


def test_a_function_may_be_async(tmp_path: Path) -> None:
    build = Build(tmp_path, "async def function():\n    print('awaited')\n")

    ended = build.run()

    assert (ended.output, ended.result) == ("awaited\n", "succeeded")


def test_code_is_found_in_the_task_then_at_the_root_then_in_the_environment(tmp_path: Path) -> None:
    site = tmp_path / "site"
    build = Build(
        tmp_path,
        "def function():\n    import a, b, c\n    print(a.where, b.where, c.where)\n",
        PATHS=["{build}/task", "{build}/shared", str(site)],
    )
    site.mkdir()
    places = {"task": build.folder / "task", "shared": build.folder / "shared", "site": site}
    for names, where in (("a", "task"), ("ab", "shared"), ("abc", "site")):
        for name in names:
            (places[where] / f"{name}.py").write_text(f"where = {where!r}")

    assert build.run().output == "task shared site\n"


def test_sys_looks_as_in_the_environment(tmp_path: Path) -> None:
    found = printed(
        tmp_path,
        """\
        import json, sys
        def function():
            print(json.dumps([sys.prefix, sys.exec_prefix, sys.executable, sys.argv[1:], sys.path]))
        """,
        PATHS=["{build}/task", "/site"],
        EXECUTABLE="/venv/bin/python",
    )

    prefix = str(tmp_path / "venv")
    assert isinstance(found, list)
    assert found[:4] == [prefix, prefix, "/venv/bin/python", []]
    assert (found[4][0], found[4][-1]) == (f"{tmp_path}/exec/tasks/demo/abc/task", "/site")
    assert not any(path.endswith("/abc") for path in found[4])


@pytest.mark.parametrize("word", ["exit", "quit"])
def test_exit_and_quit_are_there(tmp_path: Path, word: str) -> None:
    ended = Build(tmp_path, f"def function():\n    {word}(3)\n").run()

    assert (ended.status, ended.record["status"]) == (3, "3")


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_a_function_may_use_processes(tmp_path: Path, method: str) -> None:
    build = Build(
        tmp_path,
        f"""\
        import multiprocessing
        def double(n):
            return 2 * n
        def function():
            with multiprocessing.get_context({method!r}).Pool(2) as pool:
                print(pool.map(double, [1, 2]))
        """,
    )

    ended = build.run()

    assert (ended.output, ended.errors, ended.result) == ("[2, 4]\n", "", "succeeded")


def test_a_child_that_the_function_forks_ends_no_record(tmp_path: Path) -> None:
    build = Build(
        tmp_path,
        """\
        import os, sys
        def function():
            for leave in (os._exit, sys.exit, lambda status: None):
                child = os.fork()
                if child == 0:
                    return leave(0)
                os.waitpid(child, 0)
                print(os.path.exists(os.environ["RECORD"]))
        """,
        env=f"RECORD={tmp_path}/run/running/demo\n",
    )

    ended = build.run()

    assert (ended.output, ended.result) == ("True\nTrue\nTrue\n", "succeeded")


def test_the_environment_is_that_of_the_unit_and_of_the_env_file(tmp_path: Path) -> None:
    found = printed(
        tmp_path,
        """\
        import json, os, subprocess
        def function():
            child = subprocess.run(["sh", "-c", "echo $GREETING"], stdout=subprocess.PIPE, encoding="utf-8")
            names = ("TASK_NAME", "TASK_DESCRIPTION", "GREETING", "INVOCATION_ID")
            print(json.dumps([os.environ[name] for name in names] + [child.stdout]))
        """,
        env="TASK_DESCRIPTION='mine'\nexport GREETING=\"grüß dich\" # to all\n",
    )

    assert found == ["Demo", "mine", "grüß dich", RUN_ID, "grüß dich\n"]


def test_a_time_zone_in_the_env_file_counts(tmp_path: Path) -> None:
    code = "import time\ndef function():\n    print(time.localtime(0).tm_hour, time.tzname[0])\n"

    assert Build(tmp_path, code, env="TZ=XYZ-5\n").run().output == "5 XYZ\n"


def test_a_missing_env_file_is_mentioned(tmp_path: Path) -> None:
    ended = Build(tmp_path, HELLO, env=None).run()

    assert (ended.result, ended.output) == ("succeeded", "Pinging…\n")
    assert f"there is no {tmp_path}/demo.env" in ended.errors


def test_an_env_file_that_cannot_be_understood_fails_the_run(tmp_path: Path) -> None:
    build = Build(tmp_path, HELLO, env="SECRET=1\nnonsense\n")

    ended = build.run()

    assert (ended.status, ended.result, ended.output) == (1, "failed", "")
    assert ended.record["error"] == f"{tmp_path}/demo.env cannot be read: line 2: not KEY=VALUE"
    assert ended.record["attempts"] == "0"
    assert ended.record["error"] in ended.errors
    assert build.latch()["id"] == RUN_ID


def test_the_env_file_cannot_say_what_the_manager_says(tmp_path: Path) -> None:
    code = "import os\ndef function():\n    print(os.environ['INVOCATION_ID'])\n"

    ended = Build(tmp_path, code, env="\nINVOCATION_ID=forged\n").run()

    assert (ended.output, ended.result) == (f"{RUN_ID}\n", "succeeded")
    assert "line 2: INVOCATION_ID is set by the system" in ended.errors


@pytest.mark.parametrize("locale", ["", "C", "POSIX", "en_US.ISO-8859-1"])
def test_text_is_utf_8_whatever_the_locale(tmp_path: Path, locale: str) -> None:
    code = "import sys\ndef function():\n    print('計時')\n    print('Zeit', file=sys.stderr)\n"

    ended = Build(tmp_path, code).run(LANG=locale, LC_ALL=locale, PYTHONIOENCODING="latin-1")

    assert (ended.output, ended.errors) == ("計時\n", "Zeit\n")


def test_a_line_is_written_at_once_and_whole(tmp_path: Path) -> None:
    code = """\
        import os, sys
        def function():
            for number, stream in ((1, sys.stdout), (2, sys.stderr)):
                reader, writer = os.pipe()
                own = os.dup(number)
                os.dup2(writer, number)
                print("two", "words", file=stream)
                os.dup2(own, number)
                print(os.read(reader, 100))
        """

    assert Build(tmp_path, code).run().output == "b'two words\\n'\n" * 2


@pytest.fixture
def journal() -> Iterator[socket.socket]:
    """Where a journal listens, under an abstract name."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"\0keiji-{os.getpid()}-{id(listening)}")
        listening.listen()
        listening.settimeout(WAIT)
        yield listening


def heard(home: Path, journal: socket.socket, function: str, connected: bool = True) -> str:
    """What the journal hears on the stream that the runner makes for stderr."""
    build = Build(home, function)
    build.patch("start.py", '"/run/systemd/journal/stdout"', ascii(journal.getsockname().decode()))
    with open(os.devnull, "w") as stderr:
        status = os.fstat(stderr.fileno())
        stream = f"{status.st_dev}:{status.st_ino}" if connected else "1:1"
        assert build.end(build.start(stderr=stderr, JOURNAL_STREAM=stream)).status == 0
    journal.setblocking(False)
    try:
        with journal.accept()[0] as connection:
            return "".join(iter(lambda: connection.recv(10000).decode(), ""))
    except BlockingIOError:
        return ""


HEADER = "keiji-demo\n\n27\n1\n0\n0\n0\n"


@pytest.mark.parametrize(
    "speak",
    [
        "print('oh', file=sys.stderr)",
        "sys.stderr.writelines(['oh', '\\n'])",
        "import os; os.write(2, b'oh\\n')",
        "import os; os.system('echo oh >&2')",
        "import subprocess; subprocess.run(['sh', '-c', 'echo oh >&2'])",
        "import logging; logging.error('oh')",
    ],
)
def test_errors_have_a_journal_stream_of_their_own(
    tmp_path: Path, journal: socket.socket, speak: str
) -> None:
    text = heard(tmp_path, journal, f"import sys\ndef function():\n    {speak}\n")

    assert text in (f"{HEADER}oh\n", f"{HEADER}ERROR:root:oh\n")


@pytest.mark.parametrize("speak", ["pass", "print('all is well')"])
def test_without_errors_no_stream_is_made(tmp_path: Path, journal: socket.socket, speak: str) -> None:
    assert heard(tmp_path, journal, f"def function():\n    {speak}\n") == ""


def test_stderr_that_is_not_the_journal_is_left_alone(tmp_path: Path, journal: socket.socket) -> None:
    assert heard(tmp_path, journal, "import os\ndef function():\n    pass\n", connected=False) == ""


def test_libraries_can_tell_that_stderr_is_the_journal(tmp_path: Path, journal: socket.socket) -> None:
    code = """\
        import os, sys
        def function():
            status = os.fstat(2)
            print(os.environ["JOURNAL_STREAM"] == f"{status.st_dev}:{status.st_ino}", file=sys.stderr)
        """

    assert heard(tmp_path, journal, code) == f"{HEADER}True\n"


def test_threads_and_exit_handlers_end_before_the_record_does(tmp_path: Path) -> None:
    build = Build(
        tmp_path,
        """\
        import atexit, os, threading
        started = threading.Event()
        def look(who):
            print(who, os.path.exists(os.environ["RECORD"]))
        def work():
            started.wait()
            look("thread")
        def function():
            atexit.register(look, "handler")
            threading.Thread(target=work).start()
            threading.Timer(0.1, started.set).start()
        """,
        env=f"RECORD={tmp_path}/run/running/demo\n",
    )

    ended = build.run()

    assert (ended.output, ended.result) == ("thread True\nhandler True\n", "succeeded")


def test_a_file_that_is_left_open_is_still_written(tmp_path: Path) -> None:
    build = Build(
        tmp_path,
        """\
        def function():
            global file
            file = open(__import__("os").environ["FILE"], "w")
            file.write("all of it")
        """,
        env=f"FILE={tmp_path}/file\n",
    )

    assert build.run().status == 0
    assert (tmp_path / "file").read_text() == "all of it"


def test_a_firing_that_meets_a_run_in_progress_is_dropped(tmp_path: Path) -> None:
    build = Build(tmp_path, HELLO)
    build.write("running/demo", "another's")

    ended = build.run()

    assert (ended.status, ended.output) == (0, "")
    assert "another run of this task has not ended" in ended.errors
    assert build.files() == {"running/demo"}
    assert (build.run_folder / "running/demo").read_text() == "another's"


def test_a_run_that_cannot_be_recorded_goes_on_and_says_so(tmp_path: Path) -> None:
    build = Build(tmp_path, HELLO)
    (build.run_folder / "running").rmdir()

    ended = build.run()

    assert (ended.status, ended.output) == (0, "Pinging…\n")
    assert "this run cannot be recorded" in ended.errors
    assert build.files() == set()


@pytest.mark.parametrize("room", [0, 20])
def test_a_disk_that_is_full_at_the_end_leaves_nothing_in_the_way(tmp_path: Path, room: int) -> None:
    build = Build(
        tmp_path,
        f"""\
        import os, resource
        def function():
            size = os.stat(os.environ["RECORD"]).st_size + {room}
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        """,
        env=f"RECORD={tmp_path}/run/running/demo\n",
    )

    ended = build.run()

    assert ended.status == 0
    assert "this run cannot be recorded" in ended.errors
    assert build.files() == set()


def test_the_memory_of_children_counts(tmp_path: Path) -> None:
    hungry = "b = bytearray(100 << 20)\nfor i in range(0, len(b), 4096): b[i] = 1"
    code = f"""\
        import subprocess, sys
        def function():
            subprocess.run([sys.executable, "-c", {hungry!r}], check=True)
        """

    record = Build(tmp_path, code).run().record

    assert int(record["memory"]) > 100 << 20


def test_without_stderr_a_run_still_runs(tmp_path: Path) -> None:
    build = Build(tmp_path, "def function():\n    1 / 0\n", env=None)
    start = build.folder / "start.pyc"

    status = os.waitstatus_to_exitcode(os.system(f"INVOCATION_ID={RUN_ID} {PYTHON} -I -S -u {start} 2>&-"))

    assert status == 1
    assert build.record()["result"] == "failed"
