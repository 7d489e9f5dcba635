"""What calls cost, and the ceilings that hold before the next one is made.

A cost comes from the server's own statement (`usage.cost`), else from given prices, else from the table of the library
genai-prices if it is installed and knows the model. Unknown stays None. Costs are in USD.
"""

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce

from swarm.errors import Escaped, contained
from swarm.records import Usage
from swarm.study.state import StudyState
from swarm.study.usage import usages_of
from workers.proposers import ProposalFailed

OVER_CEILING = "llm_budget"


@dataclass(frozen=True, slots=True)
class Prices:
    """USD per million tokens."""

    input: float
    output: float


@dataclass(frozen=True, slots=True)
class Spent:
    """Known costs and tokens, and how many calls there were whose cost, or whose tokens, nobody knows."""

    usd: float = 0.0
    tokens: int = 0
    unpriced_calls: int = 0
    uncounted_calls: int = 0

    def plus(self, usage: Usage) -> "Spent":
        counted = usage.input_tokens is not None and usage.output_tokens is not None
        return Spent(
            self.usd + (usage.usd or 0.0),
            self.tokens + (usage.input_tokens or 0) + (usage.output_tokens or 0),
            self.unpriced_calls + (usage.calls if usage.usd is None else 0),
            self.uncounted_calls + (0 if counted else usage.calls),
        )

    def at_least(self, other: "Spent") -> "Spent":
        return Spent(
            max(self.usd, other.usd),
            max(self.tokens, other.tokens),
            max(self.unpriced_calls, other.unpriced_calls),
            max(self.uncounted_calls, other.uncounted_calls),
        )


def spent_in(study: StudyState) -> Spent:
    """The usage in a study's claims and rejections."""
    return reduce(Spent.plus, usages_of(study), Spent())


class SpendLimit:
    """Asked before each call; told after it. `prices` go before those of the table.

    `recorded` gives what the brain shows for the whole study, other workers included. Calls of this process that are
    not recorded yet are counted from the sum at the start. With several workers a ceiling can be passed by the calls
    that are under way at the same moment, one a worker.
    """

    def __init__(
        self,
        *,
        max_usd: float | None = None,
        max_tokens: int | None = None,
        prices: Prices | None = None,
        recorded: Callable[[], Spent] = Spent,
    ) -> None:
        self._max_usd = max_usd
        self._max_tokens = max_tokens
        self._prices = prices
        self._recorded = recorded
        self._own = recorded()

    def check(self, *, tokens: int, usd: float | None) -> None:
        """Raises ProposalFailed if a call of about this size would pass a ceiling.

        An earlier call whose tokens nobody counted is taken to have been as large as this one.
        """
        spent = self._own.at_least(self._recorded())
        used = spent.tokens + spent.uncounted_calls * tokens
        if self._max_tokens is not None and used + tokens > self._max_tokens:
            about = "about " if spent.uncounted_calls else ""
            raise ProposalFailed(
                OVER_CEILING,
                f"{about}{used} tokens are spent, the next call needs about {tokens}, the ceiling is "
                f"{self._max_tokens}. Raise --max-tokens to go on with the model.",
                cooldown_s=float("inf"),
            )
        if self._max_usd is not None:
            self._check_usd(spent, usd, self._max_usd)

    def price(
        self, input_tokens: int | None, output_tokens: int | None, *, model: str, base_url: str | None = None
    ) -> float | None:
        """USD of one call, None when a count or the price is unknown."""
        if input_tokens is None or output_tokens is None:
            return None
        if self._prices is not None:
            return (input_tokens * self._prices.input + output_tokens * self._prices.output) / 1e6
        return _listed_price(input_tokens, output_tokens, model, base_url)

    def record(self, usage: Usage) -> None:
        self._own = self._own.plus(usage)

    def _check_usd(self, spent: Spent, usd: float | None, limit: float) -> None:
        if usd is None and spent.unpriced_calls > 0:
            raise ProposalFailed(
                OVER_CEILING,
                f"--max-usd is {limit:g}, but neither the server nor the price table says what a call costs. "
                "Give --price-in and --price-out (USD per million tokens).",
                cooldown_s=float("inf"),
            )
        if spent.usd + (usd or 0.0) > limit or spent.usd >= limit:
            raise ProposalFailed(
                OVER_CEILING,
                f"{spent.usd:.4f} USD are spent, the next call costs about {usd or 0.0:.4f}, the ceiling is {limit:g}. "
                "Raise --max-usd to go on with the model.",
                cooldown_s=float("inf"),
            )


def _listed_price(input_tokens: int, output_tokens: int, model: str, base_url: str | None) -> float | None:
    if importlib.util.find_spec("genai_prices") is None:
        return None
    import genai_prices

    usage = genai_prices.Usage(input_tokens=input_tokens, output_tokens=output_tokens)
    price = contained(lambda: float(genai_prices.calc_price(usage, model, provider_api_url=base_url).total_price))
    return None if isinstance(price, Escaped) else price
