"""The rule of `swarm up` on a simulated night: the same functions, on the same records, without trials. Pure.

What a worker asks is asked here: `conclude` after each trial of the search, `replicates_owed` and `may_search` before
each claim, `begin`, `where` and `close` for the finals.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from swarm.records import (
    Budget,
    Decision,
    FinalsOpened,
    ObjectiveTerms,
    Operator,
    ProposalClaimed,
    Record,
    Score,
    StudyOpened,
    TrialFinished,
    TrialState,
    VerdictReached,
)
from swarm.study.state import BrainState, StudyState
from swarm.verdict import finals, slots
from swarm.verdict.decisions import conclude
from swarm.verdict.nights import Kind, Told, World, spend
from swarm.verdict.replication import replicates_owed

STUDY = "simulated"
SCORE = Score(validation_loss=0.0, top1=0.0, top5=0.0, calibrated_loss=0.0, rows=1)


class Ours:
    """One night of a study that lives in memory."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._brain = BrainState()
        self._numbers: dict[str, int] = {}  # of a program in the world, by its name in the study
        self._open: list[str] = []
        self._write(_opened(world))

    @property
    def study(self) -> StudyState:
        return self._brain.studies[STUDY]

    def number_of(self, program: str) -> int:
        """In the world, of a program that the study names."""
        return self._numbers[program]

    def claim(self) -> int | None:
        study = self.study
        if len(study.trials) < self._world.noise_runs:
            return self._claim(Operator.BASELINE, next(iter(study.programs), None))
        if slots.may_search(study):
            if owed := replicates_owed(study):
                return self._claim(Operator.REPLICATE, owed[0])
            return self._claim(Operator.TUNE, None)
        return self._claim_in_finals()

    def finish(self, program: int, cost: float) -> None:
        trial_id = self._open.pop(0)
        self._write(
            TrialFinished.model_construct(
                trial_id=trial_id, state=TrialState.COMPLETE, score=SCORE, validation_loss=cost, seed=0, reason=None
            )
        )
        for verdict in conclude(self.study, trial_id):
            self._write(verdict)
        opened = finals.open_finals(self.study)
        if opened is not None and finals.where(self.study, opened).done:
            for record in finals.close(self.study, opened):
                self._write(record)

    def told(self) -> Told:
        """What the finals said; without finals, nothing is kept and no gain is shown."""
        said = next((verdict for verdict in reversed(self.study.verdicts) if verdict.finals), None)
        if said is None:
            return Told(None, kept=False, gain=0.0)
        return Told(self._numbers[said.program], kept=said.decision is Decision.KEEP, gain=-said.delta)

    def _claim_in_finals(self) -> int | None:
        study = self.study
        opened = finals.open_finals(study)
        if opened is None:
            if study.open_trials() or study.finals:
                return None
            begun = finals.begin(study, self._world.slots - len(study.trials))
            if begun is None:
                return None
            self._write(begun)
            opened = begun
        owed = finals.where(self.study, opened).owed
        return self._claim(Operator.REPLICATE, owed[0].program, opened, owed[0].round) if owed else None

    def _claim(self, operator: Operator, name: str | None, opened: FinalsOpened | None = None, number: int = 0) -> int:
        study, trial_id = self.study, f"t{len(self.study.trials) + 1:04d}"
        incumbent = study.incumbent
        parent = incumbent.name if incumbent is not None and operator is not Operator.BASELINE else None
        if name is None:
            known = operator is Operator.BASELINE or parent is None
            self._numbers[trial_id] = 0 if known else self._world.idea(self._numbers[parent or ""])
        self._write(
            ProposalClaimed.model_construct(
                trial_id=trial_id,
                operator=operator,
                family="none",
                parent=parent,
                program=name or trial_id,
                tree_sha256=trial_id,
                source_lines=0,
                seed=0,
                read_seq=0,
                proposer="simulated",
                finals=opened.number if opened is not None else 0,
                finals_round=number,
            )
        )
        self._open.append(trial_id)
        return self._numbers[name or trial_id]

    def _write(self, record: Record | VerdictReached) -> None:
        seq = self._brain.seq + 1
        object.__setattr__(record, "__dict__", {**record.__dict__, "seq": seq, "id": str(seq), "study_id": STUDY})
        self._brain.apply(record)


@dataclass(frozen=True, slots=True)
class Night:
    """What came of one simulated night. `true_gain` of what was told, and `shown_gain` of it in the morning, None where
    none was shown; both in sigma."""

    kept: bool
    true_gain: float
    shown_gain: float | None

    @property
    def found(self) -> bool:
        """What is kept carries the planted gain."""
        return self.kept and self.true_gain > 0


def night(world: World) -> Night:
    """One night under the rule of `swarm up`."""
    told = spend(Ours(world), world)
    shown = told.gain / world.sigma if told.program is not None else None
    return Night(told.kept, -world.true[told.program or 0], shown)


@dataclass(frozen=True, slots=True)
class Terms:
    """The night that is planned. `sigma` in the objective's unit."""

    slots: int
    sigma: float
    workers: int
    noise_runs: int
    kind: Kind = "equal"


def nights(terms: Terms, gain: float, seeds: Iterable[int]) -> list[Night]:
    """Nights with one planted gain of so many sigma, 0 for none. Each gain has nights of its own for a seed."""
    return [
        night(
            World(
                terms.kind,
                seed + int(1_000_000 * gain),
                gain,
                terms.slots,
                terms.sigma,
                terms.workers,
                terms.noise_runs,
            )
        )
        for seed in seeds
    ]


def _opened(world: World) -> StudyOpened:
    return StudyOpened(
        study_id=STUDY,
        target="simulated",
        target_folder="",
        editable="",
        base_commit="",
        base_tree_sha256="",
        objective=ObjectiveTerms(),
        objective_sha256="",
        harness_sha256="",
        program_sha256="",
        budget=Budget(kind="samples", amount=1, walltime_limit_s=1),
        data="standin",
        classes=1,
        device="cpu",
        device_name="simulated",
        workers=world.workers,
        seed=world.seed,
        noise_replicates=world.noise_runs,
        trials=world.slots,
    )
