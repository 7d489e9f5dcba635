"""One scene with one agent: started as in a study, behind the same wall, with a scripted model in place of its own."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from swarm.clock import SystemClock
from swarm.target.objective import Objective
from workers.agent_check.script import Scene, Script
from workers.agent_check.server import scripted_model
from workers.briefing import Briefing, ProgramView
from workers.proposers import ProposalFailed
from workers.proposers.cli_agent import AgentSpec, CliAgentProposer
from workers.proposers.spaces import values_of

MODEL = "scripted"
KEY = "swarm-check-no-real-key"
FILE = "train.py"
OLD, NEW = "DEPTH = 3  # search: int(2, 6)", "DEPTH = 4  # search: int(2, 6)"
PROGRAM = f"""WIDTH = 64  # search: int(16, 256)
{OLD}


def main():
    return WIDTH, DEPTH
"""

# What a study calls each of them; None is a proposal.
NAMES: Mapping[Scene, str | None] = {
    "edit": None,
    "no change": "no_change",
    "401": "llm_auth",
    "429": "llm_rate_limited",
    "hang": "llm_timeout",
    "outside": "outside_write",
}
_ADDRESSES: Mapping[str, str] = {"ANTHROPIC_BASE_URL": "", "GOOGLE_GEMINI_BASE_URL": "", "OPENAI_BASE_URL": "/v1"}


@dataclass(frozen=True, slots=True)
class Tried:
    """`code`: None for a proposal with the edit in it. `asked`: how often the model was. `seconds`: the whole call,
    of which `after_s` when the agent had ended."""

    scene: Scene
    code: str | None
    detail: str
    seconds: float
    after_s: float
    asked: int
    wrote_outside: bool

    @property
    def is_right(self) -> bool:
        return self.code == NAMES[self.scene] and self.asked > 0 and not self.wrote_outside


def can_be_tried(spec: AgentSpec) -> bool:
    """Whether one of the variables that it knows says where its model is. An agent that signs in with its maker alone
    cannot be asked without that."""
    known = {*spec.env, *spec.rename, *((spec.self_hosted.url,) if spec.self_hosted is not None else ())}
    return not known.isdisjoint(_ADDRESSES)


def try_scene(
    agent: str, spec: AgentSpec, scene: Scene, *, folder: Path, environ: Mapping[str, str], deadline_s: float
) -> Tried:
    """`folder` is a fresh one of the caller's; of `environ` nothing but what every agent sees, and no key of it."""
    scratch, outside = folder / "calls", folder / "elsewhere" / "other.py"
    outside.parent.mkdir(parents=True)
    outside.write_text(PROGRAM, encoding="utf-8")
    script = Script(scene, FILE, OLD, NEW, outside, lambda: next(scratch.glob("call-*/work")))
    with scripted_model(script) as model:
        proposer = CliAgentProposer(
            agent,
            spec,
            scratch=scratch,
            variables={**environ, **variables_for(spec, model.url), "HOME": str(folder / "nobody")},
            model=MODEL,
            deadline_s=deadline_s,
        )
        clock = SystemClock()
        started = clock.monotonic()
        code: str | None = None
        try:
            proposal = proposer.propose(_briefing())
            usage, detail = proposal.usage, proposal.description
            if proposal.source != PROGRAM.replace(OLD, NEW):
                code, detail = "another edit", proposal.source
        except ProposalFailed as failure:
            usage, code, detail = failure.usage, failure.code, failure.detail
        seconds = clock.monotonic() - started
        changed = outside.read_text(encoding="utf-8") != PROGRAM or len(list(outside.parent.iterdir())) > 1
        after_s = seconds - (usage.seconds or 0.0) if usage is not None else seconds
        return Tried(scene, code, detail, seconds, after_s, len(model.asked), changed)


def variables_for(spec: AgentSpec, url: str) -> dict[str, str]:
    """Addresses and keys that lead it to a scripted model, whatever the user has."""
    keys = {name: KEY for name in (*spec.env, *spec.rename) if name.endswith("_KEY")}
    return {**keys, **{name: url + path for name, path in _ADDRESSES.items()}}


def _briefing() -> Briefing:
    view = ProgramView(trial_id="t0001", source=PROGRAM, cost=2.0, replicates=1, constants=values_of(PROGRAM))
    return Briefing(
        study_id="check",
        agent_id="worker_1",
        role="climber",
        program_text="Lower the loss.",
        editable=FILE,
        objective=Objective(),
        read_seq=1,
        sigma=0.01,
        incumbent=view,
        seed=0,
    )
