"""What was seen, as Markdown for a reader. Judges nothing: the verdicts are in the findings."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence

from lab.findings import Findings

LONGEST_QUOTE = 24  # lines


def render(found: Sequence[Findings]) -> str:
    return "\n".join(_lines(found)) + "\n"


def _lines(found: Sequence[Findings]) -> Iterator[str]:
    yield "# What the laboratory saw"
    yield ""
    yield f"Written by `make lab` ({platform.machine()}, software emulation); see [lab.md](lab.md)."
    yield "Times are by the clock of the machine that runs the laboratory, from what the jobs tell over a serial line."
    yield "Emulated machines are slow: compare a time with its bound, not with a real machine's."
    yield ""
    yield "| scenario | verdict | executions | rows of history | minutes | played (UTC) |"
    yield "|---|---|---|---|---|---|"
    for one in found:
        counts = f"{one.executions} | {one.rows} | {one.took_s / 60:.1f} | {one.played_at}"
        yield f"| [{one.name}](#{one.name}) | {_verdict(one)} | {counts} |"
    for one in found:
        yield ""
        yield from _section(one)


def _verdict(one: Findings) -> str:
    if one.is_good:
        return "good"
    return f"**{len(one.failures)} to look at**" if one.failures else "**not judged**"


def _section(one: Findings) -> Iterator[str]:
    yield f"## {one.name}"
    yield ""
    yield one.title
    yield ""
    if one.is_judged:
        broken = sum(text.startswith("the checker:") for text in one.failures)
        yield f"The checker: {broken or 'no'} violation{'' if broken == 1 else 's'}, {one.executions} executions seen."
    for text in one.failures:
        yield f"- **{text}**"
    for text in one.facts:
        yield f"- {text}"
    if one.measures:
        yield ""
        yield "| time | seconds | expected |"
        yield "|---|---|---|"
        for measure in one.measures:
            mark = "" if measure.is_kept else " **not kept**"
            yield f"| {measure.what} | {measure.took_s:.1f} | {measure.expected or '-'}{mark} |"
    for quote in one.quotes:
        lines = quote.text.splitlines()
        yield ""
        yield f"`{quote.command}` on {quote.node}, {quote.at_s:+.0f} s:"
        yield ""
        yield "```"
        yield from (line.rstrip() for line in lines[:LONGEST_QUOTE])
        if len(lines) > LONGEST_QUOTE:
            yield f"({len(lines) - LONGEST_QUOTE} more lines)"
        yield "```"
