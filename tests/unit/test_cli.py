"""The entry point: errors are told in one or two lines, and every end has its exit status."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


@pytest.fixture
def keiji(tmp_path):
    """Runs the program in folders of its own; options are those of `subprocess.run`."""

    def keiji(*words, status=0, variables=(), code="from keiji.cli import main; main()", **options):
        folders = {"KEIJI_WORKSPACE": str(tmp_path / "keiji"), "KEIJI_HOME": str(tmp_path / ".keiji")}
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        done = subprocess.run(
            [sys.executable, "-c", code, *words],
            env={**os.environ, **folders, **dict(variables)},
            text=True,
            check=False,
            **streams,
        )
        assert done.returncode == status, done.stderr
        return done

    return keiji


@pytest.fixture
def workspace(tmp_path):
    """As after `keiji init`, with nothing of the system's."""
    (tmp_path / "keiji").mkdir()
    (tmp_path / ".keiji" / "run").mkdir(parents=True)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("task create x", "task create: missing option --desc; see keiji task create --help"),
        ("task create --desc x", "task create: missing argument NAME; see keiji task create --help"),
        ("task get x y", "task get: got unexpected extra argument (y); see keiji task get --help"),
        ("task --get --name=x --force", "--get and --force cannot go together"),
        ("task --create --frob", "task: '--frob' does not go with the flags before it; see --help"),
        ("task build", "task build: name one task, or --all; see keiji task build --help"),
        ("task list", "there is no keiji in {home} yet: run `keiji init` first"),
    ],
)
def test_wrong_usage_is_told_in_one_line(keiji, tmp_path, line, complaint):
    done = keiji(*line.split(), status=1 if line == "task list" else 2)

    assert done.stderr == f"keiji: {complaint}\n".replace("{home}", str(tmp_path / ".keiji"))
    assert done.stdout == ""


@pytest.mark.parametrize("line", ["frob", "--frob", "task frob", "task logs x -n abc", "system logs -n"])
def test_click_s_own_complaints_take_one_line_and_name_the_help(keiji, line):
    complaint = keiji(*line.split(), status=2).stderr

    assert complaint.startswith("keiji: ")
    assert complaint.endswith(" --help\n")
    assert complaint.count("\n") == 1


def test_help_and_version_are_no_errors(keiji):
    assert "Usage: keiji task" in keiji("task", "--help").stdout
    assert keiji("--version").stdout.startswith("keiji, version ")


def test_a_shell_can_ask_how_a_line_goes_on(keiji):
    asked = {"_KEIJI_COMPLETE": "bash_complete", "COMP_WORDS": "keiji task his", "COMP_CWORD": "2"}

    assert keiji(variables=asked).stdout == "plain,history\n"


def test_a_reader_that_has_left_is_no_error_of_ours(keiji):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stdout:
        assert keiji("--help", status=141, stdout=stdout).stderr == ""


def test_ctrl_c_is_silent_though_the_reader_has_left():
    code = """
import sys
from keiji import cli, output

def interrupted(words):
    output.prepare()
    sys.stdout.write("unread")
    raise KeyboardInterrupt

cli._status = interrupted
cli.main([])
"""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stdout:
        done = subprocess.run(
            [sys.executable, "-c", code], stdout=stdout, stderr=subprocess.PIPE, text=True, check=False
        )

    assert (done.returncode, done.stderr) == (130, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_output_that_cannot_be_written_is_told(keiji):
    with open("/dev/full", "w") as full:
        complaint = keiji("--help", status=1, stdout=full).stderr
        keiji("--frob", status=2, stderr=full)

    assert complaint == "keiji: standard output: No space left on device: free some space on that disk\n"


def test_text_that_the_terminal_lacks_is_written_with_backslashes(keiji):
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    code = "import keiji.output as o; o.prepare(); o.say('\\u8a08'); o.error('\\u6642')"

    done = keiji(code=code, variables=ascii_only)

    assert (done.stdout, done.stderr) == ("\\u8a08\n", "keiji: \\u6642\n")


@pytest.mark.parametrize("module", ["click", "keiji.grammar", "keiji.errors", "keiji.session"])
def test_ctrl_c_while_modules_load_is_silent(keiji, workspace, module):
    code = (
        "import sys\n"
        "from keiji.cli import main\n"
        "class Interrupted:\n"
        "    def find_spec(self, name, *others):\n"
        f"        if name == {module!r}:\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupted())\n"
        "main()\n"
    )

    assert keiji("task", "list", status=130, code=code).stderr == ""
