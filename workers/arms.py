"""The arms of one worker: which proposers it has, and which of them rest.

An arm that failed with a cool-down is left alone until it has passed. The embedded arms need no key, server or money:
whatever happens to a language model, they keep the device busy.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from swarm.clock import Clock
from swarm.errors import MissingExtra
from swarm.records import Proposal
from swarm.study.settings import ProposerSettings, RunSettings
from swarm.study.state import StudyState
from swarm.version import missing
from workers.briefing import Briefing
from workers.dispatch.assignments import LLM, SCRIPTED
from workers.proposers import Metered, ProposalFailed, Proposer
from workers.proposers.cli_agent import CliAgentProposer
from workers.proposers.climb import ClimbProposer
from workers.proposers.library import LibraryProposer
from workers.proposers.recombine import RecombineProposer
from workers.proposers.scripted import ScriptedProposer
from workers.proposers.spending import Prices, SpendLimit, spent_in
from workers.proposers.tpe import TpeProposer

OWN_AGENTS = "SWARM_AGENTS"  # names a file of coding agents like workers/proposers/cli_agent/agents.toml
SLOW_ARMS = frozenset({LLM})


@dataclass(frozen=True)
class Surroundings:
    """What proposers need from outside: texts of programs, merges, and what was spent so far."""

    settings: RunSettings
    agent_id: str
    clock: Clock
    merge: Callable[[str, str, str], str]
    source_of: Callable[[str], str]
    study: Callable[[], StudyState]
    secrets: Mapping[str, str]


class Arms:
    """Proposers by the name of their arm. The policy picks among `chosen`; the others stand in while these rest."""

    def __init__(self, proposers: Mapping[str, Proposer], chosen: tuple[str, ...], clock: Clock) -> None:
        self._proposers = dict(proposers)
        self._chosen = chosen
        self._clock = clock
        self._resting_until: dict[str, float] = {}

    def available(self) -> tuple[str, ...]:
        """What the policy may pick now: the chosen arms that do not rest, else all others that do not."""
        return self._awake(self._chosen) or self._awake(tuple(self._proposers))

    def at_once(self, first: str) -> tuple[str, ...]:
        """Arms that propose without waiting for anybody, beginning with `first` if it is one of them."""
        ready = [name for name in self._awake(tuple(self._proposers)) if name not in SLOW_ARMS]
        return tuple(sorted(ready, key=lambda name: name != first))

    def label(self, arm: str) -> str:
        """What the records call the arm's proposer, such as openai:gpt-5-mini."""
        proposer = self._proposers.get(arm)
        return proposer.name if proposer is not None else arm

    def propose(self, arm: str, briefing: Briefing) -> Proposal:
        """Raises ProposalFailed; one with a cool-down sends the arm to rest."""
        try:
            return self._proposers[arm].propose(briefing)
        except ProposalFailed as failure:
            if failure.cooldown_s > 0:
                self._resting_until[arm] = self._clock.monotonic() + failure.cooldown_s
            raise

    def so_far(self, arm: str) -> ProposalFailed | None:
        """What the arm's unfinished proposal has cost; None for an arm without costs. May be called from any thread."""
        proposer = self._proposers[arm]
        return proposer.so_far() if isinstance(proposer, Metered) else None

    def _awake(self, names: tuple[str, ...]) -> tuple[str, ...]:
        now = self._clock.monotonic()
        return tuple(name for name in names if self._resting_until.get(name, 0.0) <= now)


def build_arms(around: Surroundings) -> Arms:
    """The arms that the settings give this worker. Raises UsageError for a proposer that cannot be made."""
    chosen = around.settings.proposers[around.agent_id]
    kind, _, rest = chosen.spec.partition(":")
    if kind == "scripted":
        return Arms({SCRIPTED: ScriptedProposer(Path(rest))}, (SCRIPTED,), around.clock)
    if kind == "tpe":
        return Arms({"tpe": TpeProposer()}, ("tpe",), around.clock)
    embedded = _embedded(around)
    if kind == "openai":
        return Arms({LLM: _openai(around, chosen), **embedded}, (LLM,), around.clock)
    if kind == "cli":
        return Arms({LLM: _cli_agent(around, chosen, rest), **embedded}, (LLM,), around.clock)
    if kind == "auto" and _names_a_model(around, chosen):
        arms: dict[str, Proposer] = {LLM: _openai(around, chosen), **embedded}
        return Arms(arms, tuple(arms), around.clock)
    return Arms(embedded, tuple(embedded), around.clock)


def _names_a_model(around: Surroundings, chosen: ProposerSettings) -> bool:
    """Whether `auto` has a model to ask. A key in the environment alone may be there for something else."""
    server = around.secrets.get("OPENAI_API_KEY") or os.environ.get("OPENAI_BASE_URL")
    model = chosen.model or os.environ.get("SWARM_MODEL")
    return chosen.base_url is not None or bool(server and model)


def _embedded(around: Surroundings) -> dict[str, Proposer]:
    return {
        "tpe": TpeProposer(),
        "climb": ClimbProposer(),
        "library": LibraryProposer(),
        "recombine": RecombineProposer(around.merge, around.source_of),
    }


def _openai(around: Surroundings, chosen: ProposerSettings) -> Proposer:
    from workers.proposers.openai_api import OpenAIProposer

    if absent := missing("models"):
        raise MissingExtra("models", absent)

    return OpenAIProposer.from_environment(
        around.secrets,
        os.environ,
        model=chosen.model,
        base_url=chosen.base_url,
        clock=around.clock,
        spend_limit=_spend_limit(around, chosen, "openai:"),
        transcripts=_transcripts(around),
        without_schema=_study_folder(around) / "llm" / "without_schema",
    )


def _cli_agent(around: Surroundings, chosen: ProposerSettings, name: str) -> Proposer:
    """`name` is AGENT or AGENT:MODEL; a model of the run's (`--model`) is taken where the name has none."""
    if ":" not in name and chosen.model:
        name = f"{name}:{chosen.model}"
    own = os.environ.get(OWN_AGENTS)
    return CliAgentProposer.named(
        name,
        secrets=around.secrets,
        environ=os.environ,
        scratch=_study_folder(around) / "agents" / around.agent_id,
        own_agents=Path(own) if own else None,
        clock=around.clock,
        spend_limit=_spend_limit(around, chosen, "cli:"),
        transcripts=_transcripts(around),
    )


def _prices(chosen: ProposerSettings) -> Prices | None:
    if chosen.price_in is None or chosen.price_out is None:
        return None
    return Prices(chosen.price_in, chosen.price_out)


def _spend_limit(around: Surroundings, chosen: ProposerSettings, proposers: str) -> SpendLimit:
    """Ceilings on what the whole study's proposers of this kind have spent, other workers' calls included."""
    return SpendLimit(
        max_usd=chosen.max_usd,
        max_tokens=chosen.max_tokens,
        prices=_prices(chosen),
        recorded=lambda: spent_in(around.study(), proposers),
    )


def _transcripts(around: Surroundings) -> Path:
    return _study_folder(around) / "llm" / around.agent_id


def _study_folder(around: Surroundings) -> Path:
    return around.settings.layout.study(around.settings.study_id)
