"""What a study optimises, and the one place that writes its numbers.

A *value* is what the scorer gives and what people read: 2.1034 nats, or an accuracy of 0.71. A *cost* is what the
swarm compares: less is better, whatever the direction. Records hold values; states, verdicts and samplers hold costs;
whoever shows a cost asks here for its text. Differences are costs too: a negative one is a gain.

Not promised: that a target can be scored by any objective. The harness computes the validation loss and nothing else.
"""

from pydantic import ConfigDict

from swarm.records import ObjectiveTerms

UNKNOWN = "n/a"


class Objective(ObjectiveTerms):
    """The terms of a target, with what follows from them."""

    model_config = ConfigDict(extra="forbid")

    @classmethod
    def of(cls, terms: ObjectiveTerms) -> "Objective":
        return cls.model_validate(terms.model_dump())

    @property
    def maximized(self) -> bool:
        return self.direction == "maximize"

    @property
    def key(self) -> str:
        """The name as a column of a table: validation_loss."""
        return self.name.replace(" ", "_")

    @property
    def label(self) -> str:
        """The name with its unit, as the title of an axis: validation loss (nats)."""
        return f"{self.name} ({self.unit})" if self.unit else self.name

    @property
    def better(self) -> str:
        """Which way is better: lower or higher."""
        return "higher" if self.maximized else "lower"

    def cost(self, value: float) -> float:
        """Of a value, or of a difference of two values."""
        return 0.0 - value if self.maximized else value

    def value(self, cost: float) -> float:
        """Of a cost, or of a difference of two costs."""
        return self.cost(cost)

    def text(self, cost: float | None) -> str:
        """The value in the objective's digits: 2.1034."""
        return UNKNOWN if cost is None else self.size(self.value(cost))

    def change(self, difference: float | None) -> str:
        """How the value changed, with its sign: -0.0123 is a gain where lower is better."""
        return UNKNOWN if difference is None else f"{self.value(difference):+.{self.digits}f}"

    def gain(self, difference: float) -> str:
        """A difference of costs as a claim: "better by 0.0123 nats"."""
        word = "better" if difference < 0 else "worse"
        return f"{word} by {self.with_unit(self.size(abs(difference)))}"

    def size(self, amount: float) -> str:
        """A number of the objective's scale that has no direction, such as the noise floor."""
        return f"{amount:.{self.digits}f}"

    def with_unit(self, text: str) -> str:
        return f"{text} {self.unit}" if self.unit else text
