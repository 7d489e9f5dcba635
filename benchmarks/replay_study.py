"""A study in memory, whose trainings a function answers: everything else is what the workers run.

Dispatch, arms, briefing with its memory mode, gate, citations, claims and verdicts are the real ones. In memory, and
much simpler, are the brain, the commits and the trials: two workers take turns, and one decides while the other's trial
runs. A draft is claimed at once, so none is ever rebased.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from plain import Run

from swarm import verdict
from swarm.clock import SystemClock
from swarm.records import (
    Budget,
    FailReason,
    ProposalClaimed,
    Record,
    Score,
    StudyOpened,
    TrialFinished,
    TrialStarted,
    TrialState,
)
from swarm.repo.merging import merge_text
from swarm.study.settings import Memory, RunSettings
from swarm.study.state import BrainState, StudyState
from workers.arms import Arms
from workers.claims import baseline_claim, proposal_claim, replicate_claim
from workers.dispatch import BaselineReplicate, Propose, Replicate, choose
from workers.drafts import Drafter
from workers.proposers import Proposer
from workers.proposers.climb import ClimbProposer
from workers.proposers.library import LibraryProposer
from workers.proposers.model_based import ModelBasedProposer
from workers.proposers.recombine import RecombineProposer
from workers.proposers.tpe import MOVED, TpeProposer
from workers.session import Session

NOISE_REPLICATES = 5
WORKERS = ("worker_1", "worker_2")
DRY_TURNS = 200  # in a row without a proposal: there is none any more
BASE = "base"


class MemoryBrain:
    """Records of one study in memory, numbered as the brain would, and timed by number: a minute a record."""

    def __init__(self, opened: StudyOpened, earlier: Sequence[Record] = ()) -> None:
        self._study_id = opened.study_id
        self._state = BrainState()
        self.records: list[Record] = []
        for record in earlier:
            self._state.apply(record)
        self.append(opened)

    def snapshot(self) -> BrainState:
        return self._state

    def append(self, record: Record) -> None:
        seq = self._state.seq + 1
        envelope = {"seq": seq, "at": 60.0 * seq, "study_id": self._study_id, "id": f"{self._study_id}/{seq}"}
        self.records.append(record.model_copy(update=envelope))
        self._state.apply(self.records[-1])


class Texts:
    """Program texts by trial; a program's commit is named as its first trial."""

    def __init__(self, base: str) -> None:
        self._by_name = {BASE: base}

    def add(self, name: str, source: str) -> None:
        self._by_name[name] = source

    def of_commit(self, commit: str) -> str:
        return self._by_name[commit]

    def of_program(self, study: StudyState, name: str) -> str:
        return self._by_name[BASE if study.programs[name] is study.baseline else name]


class ReplayStudy:
    """One study of two workers with these arms, whose trials `run` answers; `earlier` are the records of one before it
    of the same program, in the same brain."""

    def __init__(
        self,
        source: str,
        arms: tuple[str, ...],
        seed: int,
        run: Run,
        *,
        memory: Memory = "shared",
        moved: int | None = MOVED,
        earlier: Sequence[Record] = (),
    ) -> None:
        self._run = run
        self._texts = Texts(source)
        self._brain = MemoryBrain(replay_opened(seed, memory), earlier)
        self._settings = replay_settings(seed, memory)
        self._source = source
        self._running: list[tuple[str, str]] = []
        known: dict[str, Proposer] = {
            "model-based": ModelBasedProposer(),
            "tpe": TpeProposer(moved=moved),
            "climb": ClimbProposer(),
            "library": LibraryProposer(),
            "recombine": RecombineProposer(merge_text, self._text_of),
        }
        clock = SystemClock()  # no embedded arm asks for a rest, so it decides nothing
        self._arms = {agent: Arms({arm: known[arm] for arm in arms}, arms, clock) for agent in WORKERS}
        self._drafters = {
            agent: Drafter(
                Session(self._settings, agent, self._brain, clock),  # type: ignore[arg-type]
                self._texts,  # type: ignore[arg-type]
                own,
                None,
            )
            for agent, own in self._arms.items()
        }

    @property
    def records(self) -> Sequence[Record]:
        """All of this study, as a brain that outlives it has them."""
        return self._brain.records

    @property
    def study(self) -> StudyState:
        found = self._brain.snapshot().study(self._settings.study_id)
        assert found is not None
        return found

    def run(self, until: int) -> str:
        """Goes on until so many trials after the noise floor have ended; the program that it would then hand over.

        Raises RuntimeError when no arm has anything to propose any more.
        """
        while len(self.study.finished_trials()) - NOISE_REPLICATES < until:
            busy = {agent for _, agent in self._running}
            for agent in WORKERS:
                if agent not in busy:
                    self._start(agent)
            if not self._running:
                raise RuntimeError(f"no arm proposes anything after {len(self.study.trials)} trials")
            self._finish(*self._running.pop(0))
        assert self.study.incumbent is not None
        return self._text_of(self.study.incumbent.name)

    def _start(self, agent: str) -> None:
        """The worker's next trial. One that has nothing to propose waits until the other one's trial has ended."""
        for _ in range(DRY_TURNS):
            match choose(self.study, agent_id=agent, arms=self._arms[agent].available()):
                case BaselineReplicate():
                    state = self._brain.snapshot()
                    return self._begin(agent, baseline_claim(state, self._settings, agent, self._source))
                case Replicate(program=program):
                    state = self._brain.snapshot()
                    return self._begin(agent, replicate_claim(state, self._settings, agent, program))
                case Propose() as assignment:
                    if self._propose(agent, assignment):
                        return None
        return None

    def _propose(self, agent: str, assignment: Propose) -> bool:
        """As a worker's worker: the assignment's arm, else whichever has one."""
        for arm in self._arms[agent].at_once(first=assignment.arm):
            draft = self._drafters[agent].draft(replace(assignment, arm=arm))
            if draft is not None:
                parent = self._texts.of_program(self.study, draft.proposal.parent)
                claim = proposal_claim(self._brain.snapshot(), self._settings, agent, draft, parent)
                self._texts.add(claim.trial_id, draft.proposal.source)
                self._begin(agent, claim)
                return True
        return False

    def _begin(self, agent: str, claim: ProposalClaimed) -> None:
        self._brain.append(claim)
        self._brain.append(
            TrialStarted(
                trial_id=claim.trial_id,
                commit=BASE if claim.program == next(iter(self.study.programs)) else claim.program,
                reservation_mib=0,
                lease_id="",
                device_uuid="replay",
            )
        )
        self._running.append((claim.trial_id, agent))

    def _finish(self, trial_id: str, agent: str) -> None:
        claim = self.study.trials[trial_id].claim
        result = self._run(self._text_of(claim.program), claim.seed)
        self._brain.append(replay_finished(trial_id, agent, claim.seed, result))
        for reached in verdict.conclude(self.study, trial_id):
            self._brain.append(reached)

    def _text_of(self, name: str) -> str:
        return self._texts.of_program(self.study, name)


def replay_finished(trial_id: str, agent: str, seed: int, result: float | FailReason) -> TrialFinished:
    if isinstance(result, FailReason):
        return TrialFinished(agent_id=agent, trial_id=trial_id, state=TrialState.FAILED, reason=result, seed=seed)
    score = Score(validation_loss=result, top1=0, top5=0, calibrated_loss=result, rows=5000)
    return TrialFinished(
        agent_id=agent,
        trial_id=trial_id,
        state=TrialState.COMPLETE,
        score=score,
        validation_loss=result,
        seed=seed,
    )


def replay_id(seed: int) -> str:
    """Of each seed's own: some choices of the proposers hang on it."""
    return f"replay-{seed}"


def replay_settings(seed: int, memory: Memory) -> RunSettings:
    """What drafts and claims read of a run's settings."""
    return RunSettings(
        study_id=replay_id(seed),
        root=Path(),
        brain=Path("swarm_brain.jsonl"),
        target="replay",
        target_folder="benchmarks/data",
        editable="replay_program.py",
        base_commit=BASE,
        program_text="",
        device="cpu",
        dataset="standin",
        data_dir=Path(),
        classes=100,
        budget=Budget(kind="samples", amount=1, walltime_limit_s=1),
        memory_mib=1,
        threads=1,
        workers=len(WORKERS),
        seed=seed,
        noise_replicates=NOISE_REPLICATES,
        trials=None,
        deadline_at=None,
        proposers={},
        memory=memory,
        harness_sha256="",
    )


def replay_opened(seed: int, memory: Memory) -> StudyOpened:
    return StudyOpened(
        study_id=replay_id(seed),
        target="replay",
        target_folder="benchmarks/data",
        editable="replay_program.py",
        base_commit=BASE,
        base_tree_sha256="",
        objective_sha256="",
        harness_sha256="",
        program_sha256="",
        budget=Budget(kind="samples", amount=1, walltime_limit_s=1),
        data="standin",
        classes=100,
        device="cpu",
        device_name="replay",
        workers=len(WORKERS),
        seed=seed,
        noise_replicates=NOISE_REPLICATES,
        memory=memory,
    )
