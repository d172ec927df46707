"""Tasks are checked and schedules evaluated by a process of the workspace's interpreter."""

from __future__ import annotations

import dataclasses
import itertools
import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from authoring import FUNCTION, SCHEDULE, SCHEDULE_HEAD, new_folders, ready, write_task

from keiji import kit
from keiji.errors import EnvironmentFailed, InvalidTask
from keiji.evaluating import Evaluator
from keiji.folders import Folders
from keiji.inspection import Places, byte_code_path
from keiji.schedule import Schedule
from keiji.snapshot import shared_digest, task_digest

Evaluate = Callable[..., Schedule]

EXAMPLE = "such as Schedule().run().every(10).seconds()"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    return new_folders(tmp_path_factory.mktemp("evaluate"))


@pytest.fixture(scope="module")
def evaluator(folders: Folders) -> Iterator[Evaluator]:
    with Evaluator(ready(folders)) as evaluator:
        yield evaluator


@pytest.fixture
def task(folders: Folders) -> Path:
    """A new task's folder; nothing lies beside it."""
    folder = write_task(folders)
    for path in (*folder.glob("*.py"), *folders.workspace.glob("*.py")):
        path.unlink()
    return write_task(folders)


@pytest.fixture
def evaluate(folders: Folders, task: Path, evaluator: Evaluator, tmp_path: Path) -> Evaluate:
    """Writes files into the task's folder, copies it and has the copy evaluated."""

    builds = (tmp_path / f"build-{number}" for number in itertools.count(1))

    def evaluate(**files: str | None) -> Schedule:
        write_task(folders, **{name: text for name, text in files.items() if text is not None})
        for name in [name for name, text in files.items() if text is None]:
            (task / f"{name}.py").unlink()
        return evaluator.evaluate(_copied(folders, task, next(builds)))

    return evaluate


def _copied(folders: Folders, task: Path, build: Path) -> Places:
    build.mkdir()
    task_digest(task, build / "task")
    shared_digest(folders.workspace, build / "shared")
    own = (str(folders.tasks / "ping"), str(folders.workspace))
    return Places(str(build / "task"), str(build / "shared"), *own)


def _refusal(evaluate: Evaluate, task: Path, **files: str | None) -> str:
    """The message that the files are refused with, without the task's folder."""
    with pytest.raises(InvalidTask) as caught:
        evaluate(**files)
    assert "\n" not in caught.value.message
    return caught.value.message.replace(f"{task}/", "")


# schedules


def test_the_schedule_is_what_the_author_wrote(evaluate: Evaluate) -> None:
    assert evaluate() == Schedule().run().every(10).seconds()


def test_a_chain_may_end_without_build(evaluate: Evaluate) -> None:
    text = SCHEDULE_HEAD + "    return Schedule().on().friday().at('10:00PM')\n"

    assert evaluate(schedule=text) == Schedule().on().friday().at("10:00PM")


@pytest.mark.parametrize(
    ("chain", "message"),
    [
        ("run().every(0).seconds()", "every(n) is 0: a whole number from 1 to 315360000 is allowed"),
        ("run().every(10)", "every(10) has no unit: seconds(), minutes() or hours() follows it"),
        (
            "on().friday().at('25:00')",
            "at('25:00'): hours go from 0 to 23, or from 1 to 12 with AM or PM",
        ),
        (
            "in_timezone('Mars/Base')",
            "there is no timezone 'Mars/Base': an IANA name such as 'Africa/Nairobi' is allowed",
        ),
        ("at('10:00')", "at() follows days, such as every_day(), not nothing"),
        ("cron('61 * * * *')", "cron's minute is '61': 0 to 59 is allowed"),
    ],
)
def test_a_wrong_schedule_is_refused_with_file_and_line(
    evaluate: Evaluate, task: Path, chain: str, message: str
) -> None:
    text = SCHEDULE_HEAD + f"    chain = Schedule()\n    return chain.{chain}.build()\n"

    assert _refusal(evaluate, task, schedule=text) == f"schedule.py:6: {message}"


def test_a_schedule_that_says_nothing_is_refused_without_build_too(evaluate: Evaluate, task: Path) -> None:
    message = _refusal(evaluate, task, schedule=SCHEDULE_HEAD + "    return Schedule()\n")

    assert message.startswith("schedule.py:4: the schedule says nothing about when: ")


@pytest.mark.parametrize(
    ("body", "returned"),
    [
        ("pass", "nothing"),
        ("return 'every day'", "'every day'"),
        ("return schedule", "<function schedule at 0x"),
    ],
)
def test_a_function_that_returns_no_schedule_is_refused(
    evaluate: Evaluate, task: Path, body: str, returned: str
) -> None:
    message = _refusal(evaluate, task, schedule=SCHEDULE_HEAD + f"    {body}\n")

    said = f"schedule.py:4: schedule() must return a Schedule, {EXAMPLE}; it returned {returned}"
    assert message.startswith(said)


def test_an_async_schedule_is_refused(evaluate: Evaluate, task: Path) -> None:
    message = _refusal(evaluate, task, schedule="async def schedule():\n    pass\n")

    assert message.endswith("it returned a coroutine: write `def`, not `async def`")


@pytest.mark.parametrize("text", ["", "x = 1\n", "schedule = None\n"])
def test_a_schedule_py_without_schedule_is_refused(evaluate: Evaluate, task: Path, text: str) -> None:
    message = _refusal(evaluate, task, schedule=text)

    assert message == f"schedule.py: it must define schedule(), which returns a Schedule, {EXAMPLE}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("raise RuntimeError('two\\nlines')", "1: RuntimeError: two lines"),
        ("def schedule():\n    return 1 / 0", "2: ZeroDivisionError: division by zero"),
        ("def schedule():\n    return schedule()", "2: RecursionError: maximum recursion depth exceeded"),
        ("def schedule():\n    raise KeyboardInterrupt", "2: KeyboardInterrupt"),
        ("\nimport nowhere", "2: ModuleNotFoundError: No module named 'nowhere'"),
        ("import sys\nsys.exit(3)", "2: SystemExit: 3"),
        ("input()", "1: EOFError: EOF when reading a line"),
        ("def schedule(:", "1: syntax error: invalid syntax"),
        ("if True:\nx = 1", "2: syntax error: expected an indented block after 'if' statement on line 1"),
        ("x = '\0'", "1: "),
    ],
)
def test_a_schedule_py_that_raises_is_refused_with_file_and_line(
    evaluate: Evaluate, task: Path, text: str, message: str
) -> None:
    assert _refusal(evaluate, task, schedule=text).startswith(f"schedule.py:{message}")


@pytest.mark.parametrize(
    ("how", "told"), [("os._exit(3)", "status 3"), ("os.kill(os.getpid(), 9)", "signal 9")]
)
def test_a_schedule_py_that_ends_the_process_is_refused(
    evaluate: Evaluate, task: Path, how: str, told: str
) -> None:
    message = _refusal(evaluate, task, schedule=f"import os\n{how}\n")

    assert message == f"schedule.py: it ended the process ({told}) before schedule() returned"


def test_a_mistake_in_a_module_is_shown_where_the_author_wrote_it(
    evaluate: Evaluate, task: Path, folders: Folders
) -> None:
    (folders.workspace / "common.py").write_text("def choose():\n    raise LookupError('no idea')\n")
    text = "import helper\n\n\ndef schedule():\n    return helper.made()\n"

    message = _refusal(
        evaluate, task, schedule=text, helper="import common\ndef made():\n    return common.choose()\n"
    )

    assert message == f"{folders.workspace}/common.py:2: LookupError: no idea"


def test_what_a_schedule_py_prints_does_not_disturb(
    evaluate: Evaluate, capfd: pytest.CaptureFixture[str]
) -> None:
    said = "import os\nprint('{}')\nos.write(1, b'[]\\n')\nos.system('echo also')\n"

    assert evaluate(schedule=said + SCHEDULE) == Schedule().run().every(10).seconds()


def test_a_schedule_py_can_import_the_task_s_modules_and_the_shared_ones(
    evaluate: Evaluate, folders: Folders
) -> None:
    (folders.workspace / "common.py").write_text("N = 7\n")
    text = SCHEDULE.replace("10", "helper.N")

    made = evaluate(schedule="import helper\n" + text, helper="from common import N\n")

    assert made == Schedule().run().every(7).seconds()


def test_tasks_do_not_meet_each_other_s_modules(evaluate: Evaluate, folders: Folders) -> None:
    text = "import helper\n" + SCHEDULE.replace("10", "helper.N")
    evaluate(schedule=text, helper="N = 1\n")

    assert evaluate(schedule=text, helper="N = 2\n") == Schedule().run().every(2).seconds()


# functions


@pytest.mark.parametrize(
    "text",
    [
        "async def function():\n    pass\n",
        "def function(a=1, *args, b=2, **others):\n    pass\n",
        "from helper import function\n",
        "from helper import *\n",
        "import helper as function\n",
        "function = print\n",
        "function: object = print\n",
        "a, function = 1, print\n",
        "def other():\n    yield\nfunction = other\n",
        "@print\nclass function:\n    pass\n",
        "try:\n    from helper import function\nexcept ImportError:\n    function = None\n",
        "import functools\n@functools.partial\ndef function(x):\n    pass\n",
        "if True:\n    def function():\n        pass\n",
        "try:\n    import fast\nexcept ImportError:\n    def function():\n        pass\n",
        "def function(x):\n    pass\ndef function():\n    pass\n",
        "def function():\n    def inner():\n        yield 1\n    return (lambda: (yield))\n",
    ],
)
def test_whatever_can_be_called_is_a_function(evaluate: Evaluate, text: str) -> None:
    assert evaluate(function=text, helper="def function():\n    pass\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "function.py: it must define function(), by `def function():` or `async def function():`"),
        ("def main():\n    def function():\n        pass\n", "function.py: it must define function()"),
        ("function: object\n", "function.py: it must define function()"),
        (
            "\ndef function(x, y=1, *, z):\n    pass\n",
            "2: function() is called without arguments, but needs x, z",
        ),
        (
            "def function():\n    yield 1\n",
            "1: function() has a `yield`: calling a generator runs nothing",
        ),
        ("async def function():\n    yield 1\n", "1: function() has a `yield`"),
        ("function = 3\n", "1: `function` is a value: write `def function():`"),
        ("function: object = [print]\n", "1: `function` is a value"),
        ("def function():\n    pass\nfunction = f'{function()}'\n", "3: `function` is a value"),
        ("class function:\n    pass\n", "1: `function` is a class: write `def function():`"),
        ("def function(:\n    pass\n", "function.py:1: syntax error: invalid syntax"),
        ("def function():\n    pass\n\nreturn\n", "function.py:4: syntax error: 'return' outside function"),
        ("from .helper import a\n", "1: `from .` works in packages only: write `import helper`"),
    ],
)
def test_a_function_that_would_not_run_is_refused(
    evaluate: Evaluate, task: Path, text: str, message: str
) -> None:
    if text.startswith("from"):
        text += FUNCTION

    assert message in _refusal(evaluate, task, function=text)


@pytest.mark.parametrize("name", ["function", "schedule"])
def test_both_files_must_be_there(evaluate: Evaluate, task: Path, name: str) -> None:
    message = _refusal(evaluate, task, **{name: None})

    assert message == f"{name}.py is missing: it must define {name}()"


# imports


@pytest.mark.parametrize(
    "text",
    [
        "import os.path, json, sys, time\n",
        "from keiji import Schedule\n",
        "import helper, common\n",
        "import namespace.inner\n",
        "try:\n    import nowhere\nexcept ImportError:\n    pass\n",
        "if False:\n    import nowhere\n",
        "def late():\n    import nowhere\n",
    ],
)
def test_imports_that_would_be_found_pass(
    evaluate: Evaluate, task: Path, folders: Folders, text: str
) -> None:
    (folders.workspace / "common.py").write_text("import helper\n")
    (task / "namespace").mkdir(exist_ok=True)
    (task / "namespace" / "inner.py").touch()

    assert evaluate(function=text + FUNCTION, helper="import common\n")


@pytest.mark.parametrize(
    "statement", ["import nowhere", "import nowhere.inner", "from nowhere.inner import *"]
)
def test_a_module_that_is_nowhere_is_refused_before_anything_runs(
    evaluate: Evaluate, task: Path, folders: Folders, statement: str
) -> None:
    text = f"raise SystemExit\n{statement}\n{FUNCTION}"

    message = _refusal(evaluate, task, function=text)

    remedy = f"list what provides it in {folders.project}"
    assert message == f"function.py:2: there is no module 'nowhere' here; {remedy}"


def test_the_imports_of_a_task_s_own_modules_are_checked_too(evaluate: Evaluate, task: Path) -> None:
    message = _refusal(evaluate, task, function="import helper\n" + FUNCTION, helper="import nowhere\n")

    assert message.startswith("helper.py:1: there is no module 'nowhere' here")


def test_a_broken_module_is_refused_when_it_is_imported(evaluate: Evaluate, task: Path) -> None:
    assert evaluate(helper="import (\n")
    message = _refusal(evaluate, task, function="import helper\n" + FUNCTION)

    assert message == "helper.py:1: syntax error: invalid syntax"


# byte code


def test_all_that_compiles_is_byte_compiled_to_be_taken_unchecked(
    evaluate: Evaluate, tmp_path: Path, folders: Folders
) -> None:
    (folders.workspace / "common.py").write_text("X = 'compiled'\n")
    evaluate(helper="X = 'compiled'\n")

    for name in ("task/helper.py", "shared/common.py"):
        module = tmp_path / "build-1" / name
        module.write_text("X = 'source'\n")
        code = f"import {module.stem} as m; print(m.X, m.__file__, m.__cached__)"
        shown = subprocess.run(
            [sys.executable, "-c", code], cwd=module.parent, capture_output=True, text=True, check=True
        )
        assert shown.stdout.split() == ["compiled", str(module), byte_code_path(str(module))]


# the process


def _wait_for(path: Path) -> str:
    """The text of a file that another process will write."""
    while not (path.exists() and path.read_text().endswith("\n")):
        time.sleep(0.01)
    return path.read_text().strip()


def _wait_until_gone(pid: str) -> None:
    while _is_there(pid):
        time.sleep(0.01)


def _is_there(pid: int) -> bool:
    try:
        return "zombie" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def _hanging(reached: Path) -> str:
    text = f"import os, time\nopen({str(reached)!r}, 'w').write(f'{{os.getpid()}}\\n')\n"
    return text + "time.sleep(600)\n"


def test_closing_ends_a_schedule_that_hangs(folders: Folders, task: Path, tmp_path: Path) -> None:
    write_task(folders, schedule=_hanging(tmp_path / "reached"))
    places = _copied(folders, task, tmp_path / "build")
    evaluator = Evaluator(ready(folders))
    failed: list[Exception] = []

    def evaluate() -> None:
        try:
            evaluator.evaluate(places)
        except Exception as error:
            failed.append(error)

    thread = threading.Thread(target=evaluate)
    thread.start()
    pid = _wait_for(tmp_path / "reached")
    evaluator.close()
    thread.join()

    _wait_until_gone(pid)
    assert [type(error) for error in failed] == [EnvironmentFailed]


def test_a_schedule_that_hangs_ends_when_keiji_is_killed(
    folders: Folders, task: Path, tmp_path: Path
) -> None:
    write_task(folders, schedule=_hanging(tmp_path / "reached"))
    places = _copied(folders, task, tmp_path / "build")
    code = (
        "import json, pathlib, sys\n"
        "from keiji import environment, evaluating, folders, inspection\n"
        "where = folders.Folders(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]))\n"
        "made = environment.ensure(where, print)\n"
        "evaluating.Evaluator(made).evaluate(inspection.Places(*json.loads(sys.argv[3])))\n"
    )
    own = [str(folders.workspace), str(folders.home), json.dumps(places)]
    command = [sys.executable, "-c", code, *own]
    process = subprocess.Popen(command, cwd=kit.PACKAGE.parent)
    pid = _wait_for(tmp_path / "reached")

    process.kill()
    process.wait()

    _wait_until_gone(pid)


def test_a_schedule_that_hangs_is_ended_and_the_next_task_is_served(
    folders: Folders, task: Path, tmp_path: Path
) -> None:
    write_task(folders, schedule=_hanging(tmp_path / "reached"))
    hanging = _copied(folders, task, tmp_path / "hanging")
    write_task(folders, schedule=SCHEDULE)
    sound = _copied(folders, task, tmp_path / "sound")
    code = "from keiji import evaluate; evaluate._PATIENCE = 0.5; evaluate.serve()"
    command = [sys.executable, "-c", code]

    with subprocess.Popen(
        command, cwd=kit.PACKAGE.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        answers = []
        for places in (hanging, sound):
            process.stdin.write(json.dumps(places._asdict()).encode() + b"\n")
            process.stdin.flush()
            answers.append(json.loads(process.stdout.readline()))
        process.stdin.close()

    assert answers[0] == {"error": f"{task}/schedule.py: schedule() did not return within 0.5 s"}
    assert "schedule" in answers[1]
    _wait_until_gone(_wait_for(tmp_path / "reached"))


def test_the_process_serves_on_after_a_mistake(evaluate: Evaluate, task: Path) -> None:
    _refusal(evaluate, task, schedule="import os\nos._exit(1)\n")

    assert evaluate(schedule=SCHEDULE)


def test_an_interpreter_that_does_not_answer_is_named(folders: Folders, task: Path, tmp_path: Path) -> None:
    made = dataclasses.replace(ready(folders), python=str(shutil.which("false")))

    with (
        Evaluator(made) as evaluator,
        pytest.raises(EnvironmentFailed, match="/bin/false ended while it checked"),
    ):
        evaluator.evaluate(_copied(folders, task, tmp_path / "build"))
