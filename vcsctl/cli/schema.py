"""schema: what editors and other programs must know of unit files."""

from __future__ import annotations

import click

from vcsctl.catalog.schema import as_text
from vcsctl.cli.context import show


@click.command()
@click.option("--drop-in", is_flag=True, help="Of drop-ins: any of the keys, and null resets each.")
def schema(drop_in: bool) -> None:
    """Print the JSON Schema of unit files, for editors.

    Example: vcsctl schema > unit.schema.json

    It is installed beside the shipped units too, as PREFIX/share/vcs/unit.schema.json and drop-in.schema.json. A file
    whose first line is `# yaml-language-server: $schema=PATH` is completed and checked by it as it is written.
    """
    show(as_text("drop-in" if drop_in else "unit").rstrip("\n"))


COMMANDS: dict[str, click.Command] = {"schema": schema}
