"""How a field says what text it is read from: unit files, vcs.yaml and the utilities' files are validated by it.

Apart from the unit, since a command that only looks should not pay for the unit's many fields.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from vcsctl.domain import values


@dataclass(frozen=True, slots=True)
class Parsed:
    """Says how the text of a field becomes its value. Read by pydantic when a file is validated."""

    parse: Callable[[object], Any]

    def __get_pydantic_core_schema__(self, source: object, handler: object) -> Any:
        # Imported here and nowhere else in the domain: only who validates a file pays for pydantic.
        from pydantic_core import core_schema

        return core_schema.no_info_plain_validator_function(self.parse)


class FieldError(ValueError):
    """A fault of one key that shows only beside the others."""

    def __init__(self, key: str, text: str) -> None:
        super().__init__(text)
        self.key = key


Text = Annotated[str, Parsed(values.parse_text)]
Bool = Annotated[bool, Parsed(values.parse_bool)]
Duration = Annotated[float, Parsed(values.parse_duration)]
