"""The proposer seam: a briefing goes in, one proposal comes out.

A proposer never sees a file, a device or git. It may take long (a language model) or no time (a sampler); the device is
never reserved while it thinks.
"""

from typing import Protocol, runtime_checkable

from swarm.records import Proposal, Usage
from workers.briefing import Briefing


class ProposalFailed(Exception):
    """No usable proposal came. `code` is recorded; `cooldown_s` is how long the proposer should be left alone."""

    def __init__(self, code: str, detail: str, *, usage: Usage | None = None, cooldown_s: float = 0.0) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.usage = usage
        self.cooldown_s = cooldown_s


class Proposer(Protocol):
    @property
    def name(self) -> str:
        """What the records call it: tpe, climb, openai:MODEL, ..."""

    def propose(self, briefing: Briefing) -> Proposal:
        """One change to the briefing's program. Raises ProposalFailed; anything else is a defect."""


@runtime_checkable
class Metered(Protocol):
    """A proposer whose calls cost something even if the study ends before a proposal has come of them."""

    def so_far(self) -> ProposalFailed:
        """What the proposal that is being made, or the last one, has cost, and why its answers did not do."""
