"""What a deployed model says about itself."""

from __future__ import annotations

import dataclasses

from wage_tf.errors import UserError


@dataclasses.dataclass(frozen=True)
class Card:
    """Metadata that goes into every exported file.

    Attributes:
        name: Name of the network.
        pattern: Bit widths W-A-G-E.
        preprocessing: What happens to the raw uint8 pixels.
        labels: Name of every class, in the order of the scores; empty where they are not known.
    """

    name: str
    pattern: str
    preprocessing: str
    labels: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, object]:
        """The fields as JSON values."""
        return {**dataclasses.asdict(self), "labels": list(self.labels)}

    @classmethod
    def from_dict(cls, fields: object) -> Card:
        """Reads what `as_dict` gave.

        Raises:
            UserError: If a field is missing, unknown, or not text.
        """
        names = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(fields, dict) or set(fields) != names or not isinstance(fields["labels"], list):
            raise UserError(f"the metadata has the fields {', '.join(sorted(names))}")
        texts = [*fields["labels"], *(fields[name] for name in names - {"labels"})]
        if not all(isinstance(text, str) for text in texts):
            raise UserError("the metadata is text")
        return cls(**{**fields, "labels": tuple(fields["labels"])})
