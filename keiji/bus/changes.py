"""Which tasks' states are other than what was last told of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from keiji import states, workspace
from keiji.folders import Folders
from keiji.host import Host

DELETED = "deleted"


class Changes:
    """Keeps each task's state, in one word, as it was last told. The system's manager is asked as seldom
    as can be: once a call, for all tasks together. Any thread may call, one at a time.
    """

    def __init__(self, folders: Folders, host: Host) -> None:
        self.folders = folders
        self.host = host
        self._told: dict[str, str] = {}  # empty: whatever it is, it is to be told
        self._owed: set[str] = set()
        self._lock = threading.Lock()

    def learn(self, doubted: Callable[[], Iterable[str]]) -> None:
        """Take the states of all tasks for told; raises `HostFailed`.

        `doubted` is asked after the look: which tasks may have changed since the watching began. Of these
        nothing is taken for told.
        """
        with self._lock:
            words = self._words({*self.host.installed(), *workspace.task_slugs(self.folders)})
            self._told = {**words, **dict.fromkeys(doubted(), ""), **self._told}

    def tell(self, slugs: Iterable[str]) -> dict[str, str]:
        """Those of the tasks whose states are other than last told: slug → state, ``deleted`` if it is gone.

        A task that is not known at all is told, too. Raises `HostFailed`: the next call makes up for it.
        """
        with self._lock:
            self._owed.update(slugs)
            words = self._words(self._owed)
            self._owed.clear()
            changed = {slug: word for slug, word in words.items() if self._is_news(slug, word)}
            self._told.update(changed)
            for slug in [slug for slug, word in changed.items() if word == DELETED]:
                del self._told[slug]
            return changed

    def _is_news(self, slug: str, word: str) -> bool:
        return word != self._told.get(slug) and (word != DELETED or slug in self._told)

    def _words(self, slugs: Iterable[str]) -> dict[str, str]:
        slugs = list(slugs)
        installed = [slug for slug in slugs if self.host.is_installed(slug)]
        observed = states.observe(self.folders, self.host, installed) if installed else {}
        words = {slug: str(states.word(state)) for slug, state in observed.items()}
        if len(words) < len(slugs):
            sources = set(workspace.task_slugs(self.folders))
            for slug in slugs:
                words.setdefault(slug, str(states.State.CREATED) if slug in sources else DELETED)
        return words
