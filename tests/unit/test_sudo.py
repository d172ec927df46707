"""Under sudo keiji refuses, or becomes the person behind it."""

from __future__ import annotations

import json
import os
import pwd

import pytest
from recording import run_python

from keiji import sudo
from keiji.errors import UsageError

BEHIND = [person for person in pwd.getpwall() if person.pw_uid not in (0, 65534)]


@pytest.mark.parametrize(
    ("user", "environ", "in_force"),
    [
        (0, {"SUDO_UID": "1000"}, True),
        (0, {"SUDO_UID": "0"}, False),  # root by sudo from root
        (0, {}, False),  # a real root
        (1000, {"SUDO_UID": "1000"}, False),  # sudo -u to another person, or a shell left by sudo
        (1000, {}, False),
    ],
)
def test_only_root_by_the_sudo_of_somebody_else_counts(
    user: int, environ: dict[str, str], in_force: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)

    assert sudo.is_in_force(environ) is in_force


@pytest.mark.parametrize("said", ["somebody", "", "4294000000"])
def test_a_person_who_is_not_here_is_named(said: str) -> None:
    with pytest.raises(UsageError, match=f"SUDO_UID={said} is nobody"):
        sudo.leave({"SUDO_UID": said})


LEAVE = """
import json, os, sys
from keiji import sudo
environ = {"SUDO_UID": sys.argv[1], "SUDO_USER": "x", "XDG_RUNTIME_DIR": "/run/user/0", "LANG": "C"}
sudo.leave(environ)
print(json.dumps([os.getresuid(), os.getresgid(), os.getgroups(), environ, os.access(os.curdir, os.X_OK)]))
"""


@pytest.fixture(scope="module")
def left() -> list[object]:
    """The ids, groups and environment of a process that has left sudo, and whether its folder is open."""
    if os.geteuid() != 0 or not BEHIND:
        pytest.skip("needs root and a person to become")
    said: list[object] = json.loads(run_python(LEAVE, BEHIND[0].pw_uid))
    return said


def test_there_is_no_way_back_to_root(left: list[object]) -> None:
    person = BEHIND[0]

    assert left[:2] == [[person.pw_uid] * 3, [person.pw_gid] * 3]


def test_root_s_groups_are_left_too(left: list[object]) -> None:
    person = BEHIND[0]

    assert left[2] == sorted(os.getgrouplist(person.pw_name, person.pw_gid))


def test_the_environment_is_the_person_s(left: list[object]) -> None:
    person = BEHIND[0]

    assert left[3] == {
        "LANG": "C",
        "HOME": person.pw_dir,
        "USER": person.pw_name,
        "LOGNAME": person.pw_name,
        "XDG_RUNTIME_DIR": f"/run/user/{person.pw_uid}",
        "DBUS_SESSION_BUS_ADDRESS": f"unix:path=/run/user/{person.pw_uid}/bus",
    }


def test_the_folder_that_it_stands_in_is_one_that_the_person_may_enter(left: list[object]) -> None:
    assert left[4] is True
