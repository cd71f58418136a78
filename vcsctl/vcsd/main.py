"""The command vcsd: reads its few options, prepares, runs the loop, maps faults to exit codes."""

from __future__ import annotations

import argparse
import os
import signal
import sys

from vcsctl import __version__
from vcsctl.config import load_config, read_cache
from vcsctl.errors import StorageError, VcsError
from vcsctl.places import places, read_source
from vcsctl.runners.compiler import compile_config
from vcsctl.vcsd.daemon import Daemon


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="vcsd",
        description="Runs the services of this node, in the foreground.",
        epilog="Example: vcsd --root /tmp/trial",
    )
    made.add_argument("--root", metavar="DIR", help="move every path under DIR (also: VCS_ROOT)")
    made.add_argument("--version", action="version", version=f"vcsd {__version__}")
    return made


def main() -> None:
    arguments = parser().parse_args()
    try:
        where = places(arguments.root)
        if where.root:
            os.environ["VCS_ROOT"] = where.root  # for the utilities it runs
        source = read_source(where)
        if source is not None and read_cache(where, source) is None:
            compile_config(where)
        daemon = Daemon(where, load_config(where))
        _prepare(daemon)
        daemon.run()
    except KeyboardInterrupt:  # while it begins; later on Ctrl-C is a signal like SIGTERM
        sys.exit(128 + signal.SIGINT)
    except VcsError as error:
        print(f"vcsd: {error}", file=sys.stderr)  # noqa: T201 - the end of the program, for its user
        sys.exit(error.exit_code)


def _prepare(daemon: Daemon) -> None:
    """While it begins, what the machine refuses is its user's to mend; later on it would be a fault of ours."""
    try:
        daemon.prepare()
    except OSError as error:
        raise StorageError(
            f"cannot begin: {error.filename or daemon.where.socket}: {(error.strerror or str(error)).lower()}"
        ) from error


if __name__ == "__main__":
    main()
