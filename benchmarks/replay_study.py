"""A study whose trainings are look-ups: the real dispatcher, proposers, briefing and verdicts, without processes.

Two workers take turns: a worker decides while the other one's trial runs. What a worker's loop does around a trial is
repeated here in memory: a proposal that the study has tried is refused, as the gate would, and gets one more turn.
"""

import random
from collections.abc import Callable, Mapping

from make_replay_table import key_of

from swarm import constants, verdict
from swarm.errors import MergeConflict
from swarm.records import (
    Budget,
    Operator,
    Proposal,
    ProposalClaimed,
    ProposalRejected,
    Record,
    Scalar,
    Score,
    StudyOpened,
    TrialFinished,
    TrialStarted,
    TrialState,
)
from swarm.state import StudyState
from workers.briefing import compute_briefing
from workers.dispatch import BaselineReplicate, Propose, Replicate, choose
from workers.proposers import ProposalFailed, Proposer
from workers.proposers.climb import ClimbProposer
from workers.proposers.recombine import RecombineProposer
from workers.proposers.spaces import values_of
from workers.proposers.tpe import TpeProposer

NOISE_REPLICATES = 5
TURNS = 2
WORKERS = ("worker_1", "worker_2")
DUTIES = 40  # in a row without a trial; then a setting by lot

Train = Callable[[Mapping[str, Scalar], random.Random], float]


class ReplayStudy:
    """One study in memory."""

    def __init__(self, source: str, arms: tuple[str, ...], seed: int, train: Train, *, moved: int | None) -> None:
        self._rng = random.Random(seed)
        self._train = train
        self._arms = arms
        self._seq = 0
        self._sources: dict[str, str] = {"base": source}
        self._tried = {key_of(values_of(source))}
        self._running: list[tuple[str, str]] = []
        self._study = StudyState(_opened(seed))
        known: dict[str, Proposer] = {
            "tpe": TpeProposer(moved=moved),
            "climb": ClimbProposer(),
            "recombine": RecombineProposer(merge_constants, self._sources.__getitem__),
        }
        self._proposers = {arm: known[arm] for arm in arms}

    @property
    def incumbent(self) -> dict[str, Scalar]:
        """The constants of the program that the study would hand over."""
        assert self._study.incumbent is not None
        return values_of(self._sources[self._study.incumbent.name])

    def run(self, until: int) -> None:
        """Go on until so many trials after the noise floor have ended."""
        while self._ended() < until:
            busy = {agent for _, agent in self._running}
            for agent in WORKERS:
                if agent not in busy:
                    self._start(agent)
            self._finish(*self._running.pop(0))

    def _ended(self) -> int:
        return len(self._study.finished_trials()) - NOISE_REPLICATES

    def _start(self, agent: str) -> None:
        for _ in range(DUTIES):
            match choose(self._study, agent_id=agent, arms=self._arms):
                case BaselineReplicate():
                    return self._claim_baseline(agent)
                case Replicate(program=program):
                    return self._claim_replicate(agent, program)
                case Propose() as duty:
                    if (proposal := self._propose(agent, duty)) is not None:
                        return self._claim(agent, proposal, duty.arm)
        raise RuntimeError(f"no arm proposes anything after {len(self._study.trials)} trials")

    def _propose(self, agent: str, duty: Propose) -> Proposal | None:
        refusal = None
        for turn in range(TURNS):
            try:
                proposal = self._proposers[duty.arm].propose(self._brief(agent, duty, refusal, TURNS - turn))
            except ProposalFailed as failure:
                self._reject(agent, duty.arm, failure.code)
                return None
            if key_of(values_of(proposal.source)) not in self._tried:
                return proposal
            refusal = "this program was tried"
            self._reject(agent, duty.arm, "duplicate")
        return None

    def _brief(self, agent: str, duty: Propose, refusal: str | None, attempts_left: int):
        noise = verdict.study_noise(self._study)
        return compute_briefing(
            self._study,
            agent_id=agent,
            role=duty.role,
            program_text="",
            read_source=self._sources.__getitem__,
            read_seq=self._seq,
            memory="shared",
            seed=duty.seed,
            sigma=noise.sigma if noise is not None else None,
            cooled_families=duty.cooled_families,
            diagnosis=duty.diagnosis,
            refusal=refusal,
            attempts_left=attempts_left,
        )

    def _claim_baseline(self, agent: str) -> None:
        trial_id = self._study.next_trial_id
        program = self._study.baseline.name if self._study.baseline is not None else trial_id
        self._sources.setdefault(program, self._sources["base"])
        self._begin(agent, trial_id, operator=Operator.BASELINE, family="baseline", parent=None, program=program)

    def _claim_replicate(self, agent: str, program: str) -> None:
        parent = self._study.programs[program].parent
        trial_id = self._study.next_trial_id
        self._begin(agent, trial_id, operator=Operator.REPLICATE, family="", parent=parent, program=program)

    def _claim(self, agent: str, proposal: Proposal, arm: str) -> None:
        trial_id = self._study.next_trial_id
        changed = constants.changed(self._sources[proposal.parent], proposal.source)
        self._sources[trial_id] = proposal.source
        self._tried.add(key_of(values_of(proposal.source)))
        self._begin(
            agent,
            trial_id,
            operator=proposal.operator,
            family=proposal.family,
            parent=proposal.parent,
            program=trial_id,
            constants_changed=changed,
            description=proposal.description,
            arm=arm,
        )

    def _begin(self, agent: str, trial_id: str, *, program: str, **claim: object) -> None:
        fields = {"tree_sha256": program, "seed": 0, "read_seq": self._seq, "proposer": "replay", "program": program}
        self._apply(ProposalClaimed.model_validate({"agent_id": agent, "trial_id": trial_id, **fields, **claim}))
        self._apply(
            TrialStarted(trial_id=trial_id, commit=program, reservation_mib=0, lease_id="", device_uuid="table")
        )
        self._running.append((trial_id, agent))

    def _finish(self, trial_id: str, agent: str) -> None:
        program = self._study.trials[trial_id].claim.program
        loss = self._train(values_of(self._sources[program]), self._rng)
        score = Score(validation_loss=loss, top1=0, top5=0, calibrated_loss=loss, rows=5000)
        self._apply(
            TrialFinished(
                agent_id=agent,
                trial_id=trial_id,
                state=TrialState.COMPLETE,
                score=score,
                validation_loss=loss,
                seed=0,
            )
        )
        for reached in verdict.conclude(self._study, trial_id):
            self._apply(reached)

    def _reject(self, agent: str, arm: str, code: str) -> None:
        self._apply(ProposalRejected(agent_id=agent, code=code, detail="", proposer=arm, arm=arm))

    def _apply(self, record: Record) -> None:
        """As the brain would: numbered, and timed by number, a minute a record."""
        self._seq += 1
        self._study.apply(record.model_copy(update={"seq": self._seq, "at": 60.0 * self._seq, "study_id": "replay"}))


def merge_constants(base: str, ours: str, theirs: str) -> str:
    """A three-way merge of programs that differ in constants alone."""
    mine, other = constants.changed(base, ours), constants.changed(base, theirs)
    if mine.keys() & other.keys():
        raise MergeConflict(f"both sides set {', '.join(mine.keys() & other.keys())}")
    return constants.assign(ours, {name: new for name, (_, new) in other.items() if new is not None})


def _opened(seed: int) -> StudyOpened:
    return StudyOpened(
        study_id="replay",
        target="replay",
        target_folder="benchmarks/data",
        editable="replay_program.py",
        base_commit="base",
        base_tree_sha256="",
        objective_sha256="",
        harness_sha256="",
        program_sha256="",
        budget=Budget(kind="samples", amount=1, walltime_limit_s=1),
        data="standin",
        classes=100,
        device="cpu",
        device_name="table",
        workers=len(WORKERS),
        seed=seed,
        noise_replicates=NOISE_REPLICATES,
    )
