"""Whether the program of a unit is there. Starts nothing."""

from __future__ import annotations

from vcsctl.domain.builtin import UTILITIES
from vcsctl.domain.unit import Unit
from vcsctl.runners import spawn


def missing_program(unit: Unit) -> str | None:
    """What the unit would execute and this machine does not have; None when it is there."""
    if unit.exec[0] == "vcs-utility" and len(unit.exec) > 1 and unit.exec[1] not in UTILITIES:
        return f"vcs-utility {unit.exec[1]} (not part of this version)"
    return unit.exec[0] if spawn.find_program(unit.exec[0]) is None else None
