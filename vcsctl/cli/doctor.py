"""doctor: whether the shared directory can be trusted, on this machine alone or between two. Renders what is found."""

from __future__ import annotations

import math
import sys
from collections.abc import Generator, Iterator
from dataclasses import asdict
from functools import partial

import click

from vcsctl.cli.context import READ_PATIENCE_S, Context, show, show_json
from vcsctl.cli.doctor_checks import READING, WRITING, Patient, examine
from vcsctl.cli.doctor_pair import PEER_PATIENCE_S, pair_steps
from vcsctl.cli.doctor_steps import Line, Step, carried_out
from vcsctl.domain.values import parse_duration
from vcsctl.errors import FAILED, TRY_AGAIN, UsageError

_WRITE_PATIENCE_S = 30.0  # proofs write and sync, and a slow server is no hung one
_SHOWN = {"ok": "ok", "warning": "warning", "failed": "FAILED", "skipped": "skipped", "hung": "HUNG"}


@click.command()
@click.option("--serve", is_flag=True, help="Wait for a --peer on another node, and prove the share between the two.")
@click.option("--peer", is_flag=True, help="Prove the share together with the node that runs --serve.")
@click.option("--within", metavar="DURATION", help="Give up when no other side is there by then; a peer: 30s.")
@click.option("--output", type=click.Choice(["table", "json"]), default="table", help="Form of the answer.")
@click.pass_obj
def doctor(context: Context, serve: bool, peer: bool, within: str | None, output: str) -> None:
    """Prove that the shared directory can be trusted with locks, on this machine or between two.

    Example: vcsctl doctor

    Needs no vcsd and disturbs none. Exit code 1 when something must be mended, 75 when the storage does not answer.
    """
    patient = Patient(context.where, context.config)
    if serve and peer:
        raise UsageError("--serve and --peer are for two different nodes; write one of them")
    if not serve and not peer:
        if within is not None:
            raise UsageError("--within is for --serve and --peer; leave it out")
        _answer(carried_out(_steps(patient)), output)
        return
    within_s = _duration(within) if within is not None else math.inf if serve else PEER_PATIENCE_S
    if serve:
        click.echo("waiting for vcsctl doctor --peer on another node; Ctrl-C ends it", err=True)
    _answer(carried_out(pair_steps(patient, "server" if serve else "peer", within_s)), output)


def _duration(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError(f"--within {error}") from None


def _steps(patient: Patient) -> Generator[Step, None, None]:
    """What needs the directory, or the right to write there, falls away without it."""
    for name, check in READING.items():
        yield Step(name, READ_PATIENCE_S, partial(examine, check, patient))
        if name == "shared directory" and not patient.is_there:
            return
    if patient.may_write:
        for name, check in WRITING.items():
            yield Step(name, _WRITE_PATIENCE_S, partial(examine, check, patient))


def _answer(findings: Iterator[Line], output: str) -> None:
    lines = []
    for line in findings:
        lines.append(line)
        if output == "table":
            show(_row(line))
            sys.stdout.flush()
    if output == "json":
        show_json("checks", [asdict(line) for line in lines])
    verdicts = {line.verdict for line in lines}
    if code := TRY_AGAIN if "hung" in verdicts else FAILED if "failed" in verdicts else 0:
        raise click.exceptions.Exit(code)


def _row(line: Line) -> str:
    took = f"{line.took_s * 1000:.1f} ms" if line.took_s < 1 else f"{line.took_s:.1f} s"
    return f"{_SHOWN[line.verdict]:8} {line.check:28} {took:>9}  {line.text}".rstrip()


COMMANDS: dict[str, click.Command] = {"doctor": doctor}
