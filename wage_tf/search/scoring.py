"""The number that a search makes small: validation error joined with a cost."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Scoring:
    """Joins validation error (percent) and cost (share of the 8-8-8-8 network's) into one score, smaller is better.

    - by weight: score = error + weight·cost
    - with `max_cost`: score = error, or 100 + cost where cost > max_cost (such a pattern need not be trained)
    - with `max_error`: score = cost, or highest_cost + error where error > max_error

    A pattern that breaks a constraint so ranks behind all that keep it, and behind those that break it less.

    Args:
        measure: `"energy"`, `"memory"` or `"area"`.
        use: `"inference"` or `"training"`.
        weight: Points of error that the cost of the 8-8-8-8 network is worth.
        max_cost: Largest cost; None for no constraint.
        max_error: Largest error; None for no constraint.
        highest_cost: Cost of the most expensive pattern in the search.
    """

    measure: str
    use: str
    weight: float
    max_cost: float | None = None
    max_error: float | None = None
    highest_cost: float = 0.0

    @property
    def key(self) -> str:
        """The measure's name in `wage_tf.costs`."""
        return f"{self.measure}_{self.use}"

    @property
    def cost_label(self) -> str:
        """The cost in words."""
        return f"{self.measure} of {'a training step' if self.use == 'training' else 'inference'}"

    @property
    def formula(self) -> str:
        """The score in words."""
        cost = f"cost = {self.cost_label} as a share of the 8-8-8-8 network's"
        if self.max_cost is not None:
            return f"score = error, or 100 + cost where cost > {self.max_cost:g}; {cost}; error in %"
        if self.max_error is not None:
            highest = f"{self.highest_cost:.3g}"
            return (
                f"score = cost, or {highest} + error where error > {self.max_error:g}; {cost}; error in %; "
                f"{highest} is the highest cost of a candidate"
            )
        return f"score = error + {self.weight:g} * cost; {cost}; error in %"

    def affords(self, cost: float) -> bool:
        """Whether a pattern of this cost may be chosen at all."""
        return self.max_cost is None or cost <= self.max_cost

    def accepts(self, error: float, cost: float) -> bool:
        """Whether a pattern keeps the constraint."""
        return self.affords(cost) and (self.max_error is None or error <= self.max_error)

    def score(self, error: float, cost: float) -> float:
        """Returns the score of a pattern, by the formula above."""
        if self.max_cost is not None:
            return error if self.affords(cost) else 100.0 + cost
        if self.max_error is not None:
            return cost if error <= self.max_error else self.highest_cost + error
        return error + self.weight * cost
