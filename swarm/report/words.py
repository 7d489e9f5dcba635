"""Moments, spans and sums as a person reads them. Local time of whoever makes the report."""

from datetime import datetime

from swarm.records import Usage


def moment(at: float) -> str:
    """2026-11-21 10:27."""
    return f"{datetime.fromtimestamp(at):%Y-%m-%d %H:%M}"


def hours(amount: float) -> str:
    """Of hours, in the unit that fits: 41 s, 12 min, 5.3 h."""
    seconds = amount * 3600
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{amount:.1f} h"


def between(start: float, end: float) -> str:
    """Two moments, the day once where it is the same."""
    same = moment(start)[:10] == moment(end)[:10]
    return f"{moment(start)} to {moment(end)[11:] if same else moment(end)}"


def many(count: int, word: str) -> str:
    """1 run, 2 runs."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def price(usage: Usage | None) -> str:
    """What calls of models cost; an unknown price is said to be unknown."""
    if usage is None:
        return "no call of a model"
    usd = "price unknown" if usage.usd is None else f"{usage.usd:.4f} USD" if usage.usd < 1 else f"{usage.usd:.2f} USD"
    known = usage.input_tokens is not None and usage.output_tokens is not None
    tokens = f"{(usage.input_tokens or 0) + (usage.output_tokens or 0):,} tokens" if known else "tokens unknown"
    return f"{usd}, {tokens} in {many(usage.calls, 'call')} of models"
