"""What several calls of language models cost together."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from swarm.records import ProposalClaimed, ProposalRejected, Usage
from swarm.study.state import StudyState

_Number = TypeVar("_Number", int, float)


def total_usage(usages: Iterable[Usage]) -> Usage | None:
    """The sum over some calls; a sum with an unknown part is unknown. None without a call."""
    usages = list(usages)
    if not usages:
        return None
    return Usage(
        model=usages[-1].model,
        input_tokens=_sum([usage.input_tokens for usage in usages]),
        output_tokens=_sum([usage.output_tokens for usage in usages]),
        usd=_sum([usage.usd for usage in usages]),
        seconds=_sum([usage.seconds for usage in usages]),
        calls=sum(usage.calls for usage in usages),
    )


def usages_of(study: StudyState) -> list[Usage]:
    """Of every call that the study has recorded, used or not."""
    claims = [trial.claim for trial in study.trials.values()]
    records: list[ProposalClaimed | ProposalRejected] = [*claims, *study.rejections]
    return [record.usage for record in records if record.usage is not None]


def _sum(parts: Sequence[_Number | None]) -> _Number | None:
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None
