"""Validates vcs.yaml and keeps the result for those who must not load a YAML parser. Run as a child by vcsd."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys

from vcsctl import __version__
from vcsctl.catalog.validate import check_permissions, validate
from vcsctl.catalog.yaml_tree import BadFile, parse_tree
from vcsctl.config import Config
from vcsctl.errors import StorageError
from vcsctl.places import Places, read_source
from vcsctl.store import files


def compile_config(where: Places, source: bytes) -> Config:
    """Raises BadFile with every problem of the file."""
    if problem := check_permissions(where.config_file):
        raise BadFile((problem,))
    config = validate(Config, parse_tree(source, where.config_file))
    content = {"made_by": __version__, "source": source.decode("latin-1"), "values": dataclasses.asdict(config)}
    # Who may not write the cache can do without it.
    with contextlib.suppress(OSError, StorageError):
        os.makedirs(where.cache, exist_ok=True)
        files.replace(where.config_cache, json.dumps(content).encode())
    return config


def main() -> int:
    where = Places(sys.argv[1])
    source = read_source(where)
    try:
        if source is not None:
            compile_config(where, source)
    except BadFile as error:
        print(error, file=sys.stderr)  # noqa: T201 - a child process: its standard error is read by vcsd's user
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
