"""The two folders must be keiji's alone: uninstalling removes them whole."""

from __future__ import annotations

import pytest

from keiji.errors import UsageError
from keiji.folders import Folders

HOME = "/home/you"


def test_by_default_they_lie_in_the_home():
    folders = Folders.of({"HOME": HOME})

    assert (str(folders.workspace), str(folders.home)) == ("/home/you/keiji", "/home/you/.keiji")


@pytest.mark.parametrize("name", ["KEIJI_WORKSPACE", "KEIJI_HOME"])
@pytest.mark.parametrize("folder", ["/", "/home", HOME, "relative", "."])
def test_a_folder_that_holds_more_than_keiji_is_refused(name, folder):
    with pytest.raises(UsageError, match=name):
        Folders.of({"HOME": HOME, name: folder})


@pytest.mark.parametrize(("workspace", "home"), [("/a/b", "/a/b"), ("/a/b", "/a/b/c"), ("/a/b/c", "/a/b")])
def test_one_folder_within_the_other_is_refused(workspace, home):
    with pytest.raises(UsageError, match="beside each other"):
        Folders.of({"HOME": HOME, "KEIJI_WORKSPACE": workspace, "KEIJI_HOME": home})
