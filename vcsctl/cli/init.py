"""init: makes the cell on the shared directory, once, and says what each node must know of it."""

from __future__ import annotations

import os

import click

from vcsctl.cli.context import Context, show
from vcsctl.errors import RefusedError
from vcsctl.store import files
from vcsctl.store.cell import make_cell, read_cell
from vcsctl.store.paths import FOLDERS, Paths
from vcsctl.store.selftest import prove_storage

# What file systems make by themselves, and what an init that was cut short left.
_NOT_FOREIGN = {"lost+found", *(folder.partition("/")[0] for folder in FOLDERS)}


@click.command()
@click.pass_obj
def init(context: Context) -> None:
    """Make the cell on the shared directory that vcs.yaml names. Once, on any one node.

    Example: vcsctl init
    """
    paths, config = Paths(context.config.shared_dir), context.config
    _refuse_unusable(paths)
    before = read_cell(paths)
    if before is None and config.cell is not None:
        raise RefusedError(
            f"{paths.root} holds no cell, vcs.yaml expects {config.cell}; mount the right one, or take `cell` out of "
            f"{context.where.config_file} to make a new one"
        )
    prove_storage(paths.root, allow_nfs3=config.allow_nfs3, fence_after=config.fence_after)
    cell = make_cell(paths)
    context.refuse_another(cell)
    owner = os.stat(paths.root).st_uid
    if before is None and owner != os.geteuid():
        text = f"the cell now belongs to uid {os.geteuid()}, {paths.root} to uid {owner}; if vcsd runs as that one"
        click.echo(f"warning: {text}, chown -R {owner} {paths.root}", err=True)
    made = "is there already" if before else "made"
    show(f"cell {cell.id}: {made} in {paths.root} (time zone {cell.timezone})")
    if config.cell is None:
        show(f"every node's {context.where.config_file} should say:")
        show(f"shared_dir: {paths.root.removeprefix(context.where.root)}")
        show(f"cell: {cell.id}")


def _refuse_unusable(paths: Paths) -> None:
    """A directory that is not there is most likely a mount that is not: making it would split the cell."""
    if not os.path.isdir(paths.root):
        is_there = "is no directory" if os.path.lexists(paths.root) else "is not there"
        raise RefusedError(f"{paths.root} {is_there}; mount the shared directory there, or make it with mkdir -p")
    foreign = sorted(name for name in files.names(paths.root) if not name.startswith(".") and name not in _NOT_FOREIGN)
    if foreign and read_cell(paths) is None:
        raise RefusedError(f"{paths.root} holds {foreign[0]} and no cell; give the cell a directory of its own")


COMMANDS: dict[str, click.Command] = {"init": init}
