"""Tables within the width of a terminal: which columns give way first, and what is cut. Knows no service."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from vcsctl.cli.tables import printable, table
from vcsctl.cli.terminal import columns as terminal_columns
from vcsctl.cli.terminal import has_signs, paint

GAP = 2
_NOTHING = ("", "-")


class Column(NamedTuple):
    """`least`: it is not made narrower. `leaves`: the order in which columns are left out where even their least
    widths do not fit, 1 first; 0 stays. `below`: where it does not fit it stands under its row, after these words."""

    title: str
    least: int = 8
    leaves: int = 0
    below: str | None = None


class Row(NamedTuple):
    """`looks`: column → its meaning as `paint` knows it."""

    cells: Sequence[str]
    looks: Mapping[str, str] = {}  # shared: nobody can write to it by this type


class Fitted(NamedTuple):
    lines: list[str]
    left_out: list[str]  # the titles of the columns that had to leave


def shown_table(columns: Sequence[Column], rows: Sequence[Row], indent: int = 0) -> Fitted:
    """As the reader can see it: fitted on a terminal, whole through a pipe."""
    width = terminal_columns()
    if width is None:
        lines = table([column.title for column in columns], [row.cells for row in rows])
        return Fitted([f"{' ' * indent}{line}" for line in lines], [])
    return fitted(columns, rows, width, indent)


def fitted(columns: Sequence[Column], rows: Sequence[Row], width: int, indent: int = 0) -> Fitted:
    room = max(1, width - indent)
    cells = [[printable(cell) for cell in row.cells] for row in rows]
    natural = [max(map(width_of, column)) for column in zip([column.title for column in columns], *cells, strict=True)]
    kept = list(range(len(columns)))
    below = [number for number in kept if columns[number].below is not None] if _total(natural, kept) > room else []
    kept = [number for number in kept if number not in below]
    least = [min(wide, max(column.least, len(column.title))) for wide, column in zip(natural, columns, strict=True)]
    left_out: list[int] = []
    while _total(least, kept) > room and (leaving := _first_to_leave(columns, kept)) is not None:
        kept.remove(leaving)
        left_out.append(leaving)
    widths = _shrunk(natural, least, kept, room)
    lines = [_line([column.title for column in columns], kept, widths, indent, room, {})]
    for row, texts in zip(rows, cells, strict=True):
        looks = {number: row.looks[column.title] for number, column in enumerate(columns) if column.title in row.looks}
        lines.append(_line(texts, kept, widths, indent, room, looks))
        for number in below:
            if texts[number] not in _NOTHING:
                under = f"{columns[number].below} {texts[number]}".lstrip()
                lines += [paint(looks.get(number, "waits"), text) for text in wrapped(under, width, indent + 2)]
    return Fitted(lines, [columns[number].title for number in sorted(left_out)])


def _total(widths: Sequence[int], kept: Sequence[int]) -> int:
    return sum(widths[number] for number in kept) + GAP * max(0, len(kept) - 1)


def _first_to_leave(columns: Sequence[Column], kept: Sequence[int]) -> int | None:
    leaving = [number for number in kept if columns[number].leaves]
    return min(leaving, key=lambda number: columns[number].leaves, default=None)


def _shrunk(natural: Sequence[int], least: Sequence[int], kept: Sequence[int], room: int) -> list[int]:
    """The widest column gives way first, none below its least width."""
    widths = list(natural)
    while _total(widths, kept) > room:
        able = [number for number in kept if widths[number] > least[number]]
        if not able:
            break
        widest = max(able, key=lambda number: widths[number])
        widths[widest] -= 1
    return widths


def _line(
    cells: Sequence[str],
    kept: Sequence[int],
    widths: Sequence[int],
    indent: int,
    room: int,
    looks: Mapping[int, str],
) -> str:
    parts, used = [], 0
    for place, number in enumerate(kept):
        gap = GAP if place else 0
        left = room - used - gap
        if left < 1:  # narrower than all the least widths together
            break
        text = cut(cells[number], min(widths[number], left))
        last = place == len(kept) - 1
        padding = "" if last else " " * min(widths[number] - width_of(text), left - width_of(text))
        parts.append(" " * gap + (paint(looks[number], text) if number in looks else text) + padding)
        used += gap + width_of(text) + len(padding)
    return " " * indent + "".join(parts).rstrip()


def width_of(text: str) -> int:
    """How many columns of a terminal it takes."""
    if text.isascii():
        return len(text)
    import unicodedata  # here, since most texts need none of it

    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.combining(char) != 0 for char in text)


def cut(text: str, width: int) -> str:
    """What does not fit ends with …, or with ... where the terminal knows no such character."""
    if width_of(text) <= width:
        return text
    end = "…" if has_signs() else "..."[: max(1, width)]
    room = max(0, width - len(end))
    kept = text[:room]
    while kept and width_of(kept) > room:
        kept = kept[:-1]
    return f"{kept.rstrip()}{end}"


def cut_line(text: str) -> str:
    """One line, printable, as wide as the terminal; through a pipe all of it."""
    width, text = terminal_columns(), printable(text.expandtabs())
    return cut(text, width) if width else text


def wrapped(text: str, width: int | None, indent: int = 0, further: int = 2) -> Iterator[str]:
    """A sentence over as many lines as it needs, all but the first `further` to the right."""
    text = printable(text)
    if width is None or width_of(text) + indent <= width:
        yield " " * indent + text
        return
    import textwrap  # here, since most lines fit

    room = max(width, indent + further + 10)
    before, after = " " * indent, " " * (indent + further)
    yield from textwrap.wrap(text, room, initial_indent=before, subsequent_indent=after, break_on_hyphens=False)


def faint(text: str) -> Iterator[str]:
    yield from (paint("faint", line) for line in wrapped(text, terminal_columns()))


def too_narrow(left_out: Sequence[str]) -> Iterator[str]:
    """What a reader cannot see is missing is said."""
    if left_out:
        yield from faint(f"too narrow for {', '.join(left_out)}; through a pipe all is shown")
