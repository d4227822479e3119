"""JSON and TOML that come from outside: read into checked, immutable values, or refused in one line."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

import pydantic
from pydantic import AfterValidator, BeforeValidator, Field, InstanceOf, PlainSerializer, StringConstraints

from wage_tf import files, schedules
from wage_tf.bits import NetworkBits
from wage_tf.errors import UserError
from wage_tf.quantizers import check_gamma

LARGEST = 2**31 - 1
_SHOWN = 60

Text = Annotated[str, StringConstraints(min_length=1, max_length=4096, pattern=r"^[^\x00]*$")]
Words = Annotated[str, StringConstraints(max_length=2**20, pattern=r"^[^\x00]*$")]
Count = Annotated[int, Field(ge=1, le=LARGEST)]
Natural = Annotated[int, Field(ge=0, le=LARGEST)]
WidthMultiplier = Annotated[float, Field(gt=0, le=100)]
PositiveFloat = Annotated[float, Field(gt=0, le=1e6)]
Gamma = Annotated[float, AfterValidator(check_gamma)]
Rate = Annotated[float, Field(gt=0)]
Bits = Annotated[InstanceOf[NetworkBits], BeforeValidator(NetworkBits.parse), PlainSerializer(NetworkBits.as_json)]
Etas = Annotated[
    tuple[tuple[int, float], ...],
    BeforeValidator(lambda value: schedules.parse(value) if isinstance(value, str) else value),
    AfterValidator(schedules.checked),
    PlainSerializer(schedules.to_text),
]
"""A pattern or a schedule is text in a file, and a value in the program."""


class Document(pydantic.BaseModel):
    """The contents of a JSON file: immutable, every entry known and of its type.

    Raises:
        pydantic.ValidationError: If an entry is missing, unknown, of another type or out of range.
    """

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def as_json(self) -> dict[str, object]:
        """The document as JSON gives it back: lists for tuples, text for patterns and schedules."""
        return self.model_dump(mode="json")

    def first_difference(self, other: Self, ignored: Collection[str]) -> tuple[str, Any, Any] | None:
        """The first entry that differs: its name as a flag has it, its value here and in `other`; None if none does."""
        others = other.as_json()
        for name, value in self.as_json().items():
            if name not in ignored and value != others[name]:
                return name.replace("_", "-"), value, others[name]
        return None

    def write(self, path: Path) -> None:
        """Writes the document whole or not at all."""
        files.write_json(path, self.as_json())

    @classmethod
    def read(cls, path: Path, advice: str) -> Self:
        """Reads what `write` wrote.

        Args:
            path: The file.
            advice: What to do where it is damaged.

        Raises:
            FileNotFoundError: If there is none.
            UserError: If it is no JSON, or an entry is wrong; the message names the file and the entry.
        """
        return cls.from_json(path, path.read_bytes(), advice)

    @classmethod
    def from_json(cls, path: Path, content: bytes, advice: str) -> Self:
        """Checks what `read` read; same arguments and errors."""
        return parse(pydantic.TypeAdapter(cls), path, content, advice)


_T = TypeVar("_T")


def parse(kind: pydantic.TypeAdapter[_T], path: Path, content: bytes, advice: str) -> _T:
    """Checks the JSON content of a file.

    Raises:
        UserError: If it is none of this kind; see `Document.read`.
    """
    try:
        return kind.validate_json(content)
    except pydantic.ValidationError as error:
        raise UserError(f"{path} is damaged or of another version ({describe(error)}): {advice}") from error


def describe(error: pydantic.ValidationError) -> str:
    """The first thing that is wrong, in one line: where, what, and what was received."""
    first = error.errors(include_url=False)[0]
    where = ".".join(_shortened(str(part)) for part in first["loc"])
    message = " ".join(first["msg"].removeprefix("Value error, ").split())
    received = "" if first["type"] in ("missing", "json_invalid", "value_error") else f"; received {first['input']!r}"
    return f"{where}: {message}{_shortened(received)}" if where else f"{message}{_shortened(received)}"


def _shortened(text: str) -> str:
    shown = text if text.isprintable() else repr(text)
    return shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
