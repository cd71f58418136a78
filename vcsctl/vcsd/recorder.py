"""Turns finished claims into history and prunes their records. Each number is written once, whatever dies between.

Who wrote an outcome writes its rows; for a node that is silent any other does. The history is synced in batches:
until then the records themselves, which are durable, stay.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable
from itertools import islice

from vcsctl import steps
from vcsctl.domain.history import Row, rows
from vcsctl.errors import StorageError
from vcsctl.store import history, last_runs, records, state
from vcsctl.store.paths import Paths
from vcsctl.store.records import Faults
from vcsctl.store.state import StateReader

# So many finished numbers of one KEY may lie beside each other before they are pruned out of turn.
MOST_UNPRUNED = 64


class Recorder:
    def __init__(
        self, paths: Paths, node: str, reader: StateReader, faults: Faults, is_silent: Callable[[str], bool]
    ) -> None:
        self._paths = paths
        self._node = node
        self._reader = reader
        self._faults = faults
        self._is_silent = is_silent
        self._recorded: dict[str, int] = {}  # KEY → the highest number whose rows are in the history
        self._to_sync: dict[str, set[str]] = defaultdict(set)
        self._to_prune: dict[str, set[int]] = defaultdict(set)
        self._left_to: dict[str, set[str]] = defaultdict(set)  # KEY → living nodes that have rows of it to write
        self._strays: dict[str, set[int]] = {}  # as they were met the last time
        self.behind: set[str] = set()  # KEYs whose rows could not be written yet

    def record(self, key: str) -> list[Row]:
        """Writes what is finished and not yet in the history; the rows. Raises nothing: a full disk is for later."""
        try:
            written = self._record(key)
        except StorageError as error:
            self._faults.add(self._paths.history_folder(key.partition("@")[0]), str(error))
            self.behind.add(key)
            return []
        self.behind.discard(key)
        self._faults.forget(self._paths.history_folder(key.partition("@")[0]))
        return written

    def is_behind(self, key: str, number: int) -> bool:
        """Whether a finished number was not looked at yet."""
        return self._recorded.get(key, 0) < number

    def _record(self, key: str) -> list[Row]:
        known = self._recorded.get(key)
        new_rows: list[Row] = []
        numbers: set[int] = set()
        highest = known or 0
        others = False
        for claim, end in self._reader.finished(key, highest):
            highest = claim.value.fence
            writer = end.value.node if end else claim.value.node
            if writer == self._node or self._is_silent(writer):
                new_rows.extend(rows(claim.value, claim.at, end.value if end else None))
                numbers.add(highest)
                others |= writer != self._node
            else:
                self._left_to[key].add(writer)
        if new_rows:
            # What failed before may have been written in part, what others left is perhaps in their files already:
            # then each row is looked for first.
            check = known is None or others or key in self.behind
            self._to_sync[key] |= set(history.append(self._paths, self._node, new_rows, check=check))
            self._to_prune[key] |= numbers  # not before the rows are written: what is pruned is gone
        self._recorded[key] = highest
        if runs := [row for row in new_rows if row.is_run]:
            with contextlib.suppress(StorageError):  # an index for display, derived from the history
                last_runs.append(self._paths, self._node, runs)
        steps.reached("history written")
        if len(self._to_prune[key]) > MOST_UNPRUNED:
            self._prune(key)
        return new_rows

    def take_over(self, node: str) -> None:
        """Writes what was left to a node that has fallen silent: it may never come back."""
        for key in [key for key, writers in self._left_to.items() if node in writers]:
            del self._left_to[key]
            self._recorded.pop(key, None)  # from the first on, each row looked for
            self.record(key)

    def prune(self, most: int) -> None:
        """Removes what the history makes superfluous, of at most so many services."""
        for key in list(islice(self._to_sync, most)):
            self._prune(key)
        steps.reached("records pruned")

    def _prune(self, key: str) -> None:
        """Makes the history of a KEY durable, then removes the records that it replaces: all but the newest."""
        paths = self._to_sync.pop(key, set())
        try:
            for path in paths:
                records.sync_file(path)
        except StorageError:
            # Not known to be durable, or removed meanwhile: written again where it is missing, pruned after that.
            self._recorded.pop(key, None)
            self._to_prune.pop(key, None)
            self.behind.add(key)
            raise
        found = self._reader.read(key)
        # The newest run and what follows it say what was claimed last and whether a retry is due.
        newest_run = found.run.value.fence if found.run else found.fence
        numbers = self._to_prune[key]
        finished = sorted(number for number in numbers if number < min(newest_run, found.fence))
        strays = set(self._reader.strays(key, newest_run))
        # Not what one listing alone takes for one: a large folder is not read in one moment.
        state.remove_numbers(self._paths, key, [*finished, *sorted(strays & self._strays.get(key, set()))])
        self._strays[key] = strays
        state.remove_drafts(self._paths, key, newest_run)
        state.remove_old_turns(self._paths, found)
        numbers.difference_update(finished)
