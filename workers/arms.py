"""The arms of one worker: which proposers it has, and which of them rest.

An arm that failed with a cool-down is left alone until it has passed. The embedded arms need no key, server or money:
whatever happens to a language model, they keep the device busy.

A proposer's border is total. Whatever it raises becomes a ProposalFailed with a class and a text, which is recorded as
a call, and the arm rests for a time that ends. Secrets are taken out of whatever it gives, the program included.
"""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from swarm.clock import Clock
from swarm.errors import BrainError, Escaped, MissingExtra, contained
from swarm.records import MAX_DESCRIPTION, Proposal, one_line
from swarm.sandbox.landlock import can_restrict_writing
from swarm.sharing.publishing import ARM
from swarm.study.model_server import names_a_model
from swarm.study.settings import ProposerSettings, RunSettings
from swarm.study.state import StudyState
from swarm.version import missing
from workers.briefing import Briefing
from workers.dispatch.assignments import LLM, SCRIPTED, is_model
from workers.proposers import Metered, ProposalFailed, Proposer
from workers.proposers.breaker import Breaker
from workers.proposers.cli_agent import CliAgentProposer
from workers.proposers.climb import ClimbProposer
from workers.proposers.importing import importers
from workers.proposers.library import LibraryProposer
from workers.proposers.recombine import RecombineProposer
from workers.proposers.requests import Asked
from workers.proposers.scripted import ScriptedProposer
from workers.proposers.spending import Prices, SpendLimit, spent_in
from workers.proposers.tpe import TpeProposer
from workers.redact import Redactor

OWN_AGENTS = "SWARM_AGENTS"  # names a file of coding agents like workers/proposers/cli_agent/agents.toml


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

    def __init__(
        self, proposers: Mapping[str, Proposer], chosen: tuple[str, ...], clock: Clock, redact: Redactor | None = None
    ) -> None:
        self._proposers = dict(proposers)
        self._chosen = chosen
        self._clock = clock
        self._redact = redact or Redactor()
        self._resting_until: dict[str, float] = {}
        self._breakers = {name: Breaker(clock, failures=1) for name in proposers}  # for what no proposer may raise

    def available(self) -> tuple[str, ...]:
        """What the policy may pick now: the chosen arms that do not rest, else all others that do not. Findings of
        others alone are no search: then too the others stand in."""
        chosen = self._awake(self._chosen)
        return chosen if any(not name.startswith(ARM) for name in chosen) else self._awake(tuple(self._proposers))

    def announced(self) -> str:
        """The arms that the policy may pick, in words; where a coding agent has no wall they say so."""
        said = ", ".join(self.available())
        if any(isinstance(proposer, CliAgentProposer) for proposer in self._proposers.values()) and not (
            can_restrict_writing()
        ):
            said += "; a coding agent may write wherever its user may, since this kernel has no Landlock 3"
        return said

    def at_once(self, first: str) -> tuple[str, ...]:
        """Arms that propose without waiting for anybody, beginning with `first` if it is one of them."""
        asked = [name for name in self._awake(tuple(self._proposers)) if not is_model(name)]
        ready = [name for name in asked if name == first or not name.startswith(ARM)]  # those have a share of their own
        return tuple(sorted(ready, key=lambda name: name != first))

    def has(self, arm: str) -> bool:
        """Whether there is such an arm, chosen by the policy or standing in."""
        return arm in self._proposers

    @property
    def has_models(self) -> bool:
        return any(map(is_model, self._proposers))

    def label(self, arm: str) -> str:
        """What the records call the arm's proposer, such as openai:gpt-5-mini."""
        proposer = self._proposers.get(arm)
        return proposer.name if proposer is not None else arm

    def will_wake(self) -> bool:
        """Whether an arm rests that will be there again. An empty shelf of findings is nothing to wait for."""
        now = self._clock.monotonic()
        resting = (until for name, until in self._resting_until.items() if not name.startswith(ARM))
        return any(now < until < math.inf for until in resting)

    def propose(self, arm: str, briefing: Briefing) -> Proposal:
        """Raises ProposalFailed, Asked where the briefing allows it, and BrainError if the brain fails; a cool-down
        sends the arm to rest."""
        try:
            answer = contained(lambda: self._asked(arm, briefing), passing=(ProposalFailed, Asked, BrainError))
            if isinstance(answer, Escaped):
                raise self._broken(arm, answer)
        except ProposalFailed as failure:
            if failure.cooldown_s > 0:
                self._resting_until[arm] = self._clock.monotonic() + failure.cooldown_s
            raise
        self._breakers[arm].succeeded()
        return answer

    def so_far(self, arm: str) -> ProposalFailed | None:
        """What the arm's unfinished proposal has cost; None for an arm without costs. May be called from any thread."""
        proposer = self._proposers[arm]
        answer = contained(proposer.so_far) if isinstance(proposer, Metered) else None
        return None if isinstance(answer, Escaped) else answer

    def _asked(self, arm: str, briefing: Briefing) -> Proposal:
        """The proposal without secrets. A proposer of somebody's own may give anything, which is refused here."""
        proposal = Proposal.model_validate(self._proposers[arm].propose(briefing))
        fields = {name: self._without_secrets(value) for name, value in proposal.model_dump().items()}
        fields["description"] = one_line(str(fields["description"]), MAX_DESCRIPTION)  # a mark may be longer than a key
        return Proposal.model_validate(fields)

    def _broken(self, arm: str, escaped: Escaped) -> ProposalFailed:
        """For what a proposer may not raise. Each time in a row the arm rests longer, up to half an hour."""
        breaker, so_far = self._breakers[arm], self.so_far(arm)
        breaker.failed()
        detail = self._redact(f"{self.label(arm)} broke: {escaped.text}")
        return ProposalFailed(
            "arm_failed", detail, usage=so_far.usage if so_far else None, cooldown_s=breaker.remaining_s
        )

    def _without_secrets(self, value: object) -> object:
        match value:
            case str():
                return self._redact(value)
            case dict():
                return {key: self._without_secrets(item) for key, item in value.items()}
            case list() | tuple():
                return [self._without_secrets(item) for item in value]
        return value

    def _awake(self, names: tuple[str, ...]) -> tuple[str, ...]:
        now = self._clock.monotonic()
        return tuple(name for name in names if self._resting_until.get(name, 0.0) <= now)


def build_arms(around: Surroundings) -> Arms:
    """The arms that the settings give this worker. Raises UsageError for a proposer that cannot be made."""
    proposers, chosen = _proposers(around)
    return Arms(proposers, chosen, around.clock, Redactor(around.secrets.values()))


def _proposers(around: Surroundings) -> tuple[Mapping[str, Proposer], tuple[str, ...]]:
    """All that the worker has, and the names of those that the policy picks among."""
    chosen = around.settings.proposers[around.agent_id]
    kind, _, rest = chosen.spec.partition(":")
    if kind == "scripted":
        imported = importers(around.settings, around.study, around.source_of)
        return {SCRIPTED: ScriptedProposer(Path(rest)), **imported}, (SCRIPTED, *imported)
    if kind in ("model-based", "tpe"):
        return {kind: _model_based() if kind == "model-based" else TpeProposer()}, (kind,)
    embedded = _embedded(around)
    imported = importers(around.settings, around.study, around.source_of)
    if kind in ("openai", "cli"):
        models = _models(around, (chosen, *chosen.others))
        return {**models, **embedded, **imported}, (*models, *imported)
    if kind == "auto" and names_a_model(chosen, {**os.environ, **around.secrets}):
        arms: dict[str, Proposer] = {LLM: _openai(around, chosen), **embedded, **imported}
        return arms, tuple(arms)
    return {**embedded, **imported}, (*embedded, *imported)


def _model_based() -> Proposer:
    from workers.proposers.model_based import ModelBasedProposer  # numpy with it, which not every target needs

    return ModelBasedProposer()


def _embedded(around: Surroundings) -> dict[str, Proposer]:
    """Of a target that is not sealed without the library, whose edits are of training programs in torch, and without
    the sampler where numpy is not installed: such a study needs none of the libraries for training."""
    sealed = around.settings.terms.grade == "sealed"
    return {
        **({"model-based": _model_based()} if sealed or find_spec("numpy") else {}),
        "climb": ClimbProposer(),
        **({"library": LibraryProposer()} if sealed else {}),
        "recombine": RecombineProposer(around.merge, around.source_of),
    }


def _models(around: Surroundings, asked: Sequence[ProposerSettings]) -> dict[str, Proposer]:
    """Each model by an arm of its own: the first is `llm`, the others have their names behind it."""
    arms: dict[str, Proposer] = {}
    for chosen in asked:
        kind, _, name = chosen.spec.partition(":")
        proposer = _openai(around, chosen) if kind == "openai" else _cli_agent(around, chosen, name)
        arm = f"{LLM}:{proposer.name}" if arms else LLM
        arms[arm if arm not in arms else f"{arm}#{len(arms)}"] = proposer
    return arms


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
        spend_limit=_spend_limit(around, chosen),
        transcripts=_transcripts(around),
        learnt=_study_folder(around) / "llm" / "servers",
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
        spend_limit=_spend_limit(around, chosen),
        transcripts=_transcripts(around),
    )


def _prices(chosen: ProposerSettings) -> Prices | None:
    if chosen.price_in is None or chosen.price_out is None:
        return None
    return Prices(chosen.price_in, chosen.price_out)


def _spend_limit(around: Surroundings, chosen: ProposerSettings) -> SpendLimit:
    """Ceilings on what the whole study has spent, other workers' calls, other models and earlier runs included."""
    return SpendLimit(
        max_usd=chosen.max_usd,
        max_tokens=chosen.max_tokens,
        prices=_prices(chosen),
        recorded=lambda: spent_in(around.study()),
    )


def _transcripts(around: Surroundings) -> Path:
    return _study_folder(around) / "llm" / around.agent_id


def _study_folder(around: Surroundings) -> Path:
    return around.settings.layout.study(around.settings.study_id)
