"""Changes one override while no other command does: read, change, replace as a whole."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from datetime import datetime

from vcsctl.domain.override import Override
from vcsctl.errors import StorageError
from vcsctl.store import codec, files, locks
from vcsctl.store.overrides import read_override
from vcsctl.store.paths import Paths

_LOCK_PATIENCE_S = 5.0
_LOCK_PAUSE_S = 0.02


def change_override(
    paths: Paths, service: str, change: Callable[[Override | None, datetime], Override | None]
) -> Override | None:
    """Reads, changes and replaces one override while no other command does; `change` gets the server's clock.

    None from `change` removes the override.
    """
    with _alone(paths):
        draft = files.Draft(paths.override(service), b"")
        draft.discard()
        changed = change(read_override(paths, service), draft.modified_at)
        if changed is None:
            files.discard(paths.override(service))
        else:
            files.replace(paths.override(service), codec.encode(changed), durable=True)
        files.sync_directory(paths.overrides)
    return changed


@contextlib.contextmanager
def _alone(paths: Paths) -> Iterator[None]:
    give_up_s = time.monotonic() + _LOCK_PATIENCE_S
    while (lock := locks.try_lock(paths.overrides_lock())) is None:
        if time.monotonic() > give_up_s:
            raise StorageError(f"cannot lock {paths.overrides_lock()}: another command holds it; try again")
        time.sleep(_LOCK_PAUSE_S)
    try:
        yield
    finally:
        lock.close()
