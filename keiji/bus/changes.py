"""Which tasks are other than what was last told of them: in another state, or built anew."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import NamedTuple

from keiji import marks, states, workspace
from keiji.folders import Folders
from keiji.host import Host
from keiji.lifecycle import State


class _Seen(NamedTuple):
    word: str
    build: str


_NOTHING = _Seen("", "")  # unlike all that can be seen


class Changes:
    """Keeps what was last told of each task. Any thread may call.

    The system's manager is asked once a call, for all tasks together.
    """

    def __init__(self, folders: Folders, host: Host) -> None:
        self.folders = folders
        self.host = host
        self._told: dict[str, _Seen] = {}
        self._owed: set[str] = set()
        self._lock = threading.Lock()

    def learn(self, doubted: Callable[[], Iterable[str]]) -> None:
        """Take all tasks, as they are now, for told; raises `HostFailed`.

        `doubted` is asked after the look: which tasks may have changed since the watching began. Of these
        nothing is taken for told.
        """
        with self._lock:
            seen = self._look({*self.host.installed(), *workspace.task_slugs(self.folders)})
            self._told = {**seen, **dict.fromkeys(doubted(), _NOTHING), **self._told}

    def tell(self, slugs: Iterable[str]) -> dict[str, str]:
        """Those of the tasks that are other than last told: slug → state, ``deleted`` if it is gone.

        A task that is not known at all is told, too. Raises `HostFailed`: the next call makes up for it.
        """
        with self._lock:
            self._owed.update(slugs)
            seen = self._look(self._owed)
            self._owed.clear()
            changed = {slug: look.word for slug, look in seen.items() if self._is_news(slug, look)}
            self._told.update(seen)
            for slug in [slug for slug, look in seen.items() if look.word == State.DELETED]:
                del self._told[slug]
            return changed

    def _is_news(self, slug: str, look: _Seen) -> bool:
        return look != self._told.get(slug) and (look.word != State.DELETED or slug in self._told)

    def _look(self, slugs: Iterable[str]) -> dict[str, _Seen]:
        """What is seen of each task, but of those that are just being deleted.

        A mark says that a task is being changed; when it goes, the task is looked at again. Until then its
        record may be the old one, so that it is not told to be built anew or gone.
        """
        slugs, marked = set(slugs), set(marks.marked(self.folders))
        installed = {slug for slug in slugs if self.host.is_installed(slug)}
        observed = states.observe(self.folders, self.host, installed) if installed else {}
        seen = {
            slug: _Seen(str(states.word(state)), self._build(slug, slug in marked))
            for slug, state in observed.items()
        }
        gone = slugs - installed - marked
        sources = set(workspace.task_slugs(self.folders)) if gone else set()
        words = {slug: State.CREATED if slug in sources else State.DELETED for slug in gone}
        return {**seen, **{slug: _Seen(str(word), "") for slug, word in words.items()}}

    def _build(self, slug: str, is_marked: bool) -> str:
        if is_marked and slug in self._told:
            return self._told[slug].build
        try:
            return self.folders.current(slug).readlink().name
        except OSError:
            return ""
