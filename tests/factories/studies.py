"""Synthetic studies, labelled as such: the records of trials that never ran, judged by the real verdicts.

Nothing here is a measurement. Every record says so in its description, and the study's device is called fake.
"""

import hashlib
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from factories.records import claim, finished, started, study_opened
from fakes.fake_clock import FakeClock

from swarm.brain import Brain
from swarm.records import (
    Budget,
    FailReason,
    FinalsClosed,
    ObjectiveTerms,
    Operator,
    ProposalRejected,
    Record,
    Resources,
    Scalar,
    TrialFinished,
    WorkerStatus,
)
from swarm.study.state import BrainState, StudyState
from swarm.study.steering import steer_limit
from swarm.verdict import conclude, finals, replicates_owed

SIGMA = 0.012
BASELINE_LOSS = 2.2
EPOCH = 1_790_000_000.0


class FakeStudy:
    """Writes records one after the other and replays them at once; `records` is what a brain file would hold."""

    def __init__(
        self,
        *,
        seed: int = 0,
        sigma: float = SIGMA,
        workers: int = 2,
        noise_replicates: int = 5,
        data: str = "standin",
        objective: ObjectiveTerms | None = None,
        **opened: Any,
    ) -> None:
        self.random = random.Random(seed)
        self.sigma = sigma
        self.brain = BrainState()
        self.records: list[Record] = []
        self.now = EPOCH
        self.true_loss: dict[str, float] = {}
        self.write(
            study_opened(
                objective=objective or ObjectiveTerms(),
                budget=Budget(kind="samples", amount=40_000, walltime_limit_s=60),
                data=data,
                workers=workers,
                seed=seed,
                noise_replicates=noise_replicates,
                description="synthetic study, nothing in it was measured",
                **opened,
            )
        )

    @property
    def study(self) -> StudyState:
        study = self.brain.latest
        assert study is not None
        return study

    def write(self, record: Record, *, after_s: float = 1.0) -> Record:
        """Fill the envelope as the brain would, and apply."""
        self.now += after_s
        seq = len(self.records) + 1
        filled = record.model_copy(
            update={"seq": seq, "id": f"fake{seq:06d}", "at": self.now, "study_id": "fake-study"}
        )
        self.records.append(filled)
        self.brain.apply(filled)
        return filled

    def limit(self, trials: int | str) -> None:
        """A person's word: so many trials in all, or unlimited."""
        self.write(steer_limit(self.study, "trials", str(trials), self.now))

    def claim(
        self,
        *,
        effect: float = 0.0,
        parent: str | None = None,
        program: str | None = None,
        constants: Mapping[str, tuple[Scalar | None, Scalar | None]] | None = None,
        source_lines: int | None = None,
        tree: str | None = None,
        **fields: Any,
    ) -> str:
        """A new trial. `effect` is the true change of the loss against the parent; `program` makes it a replicate.

        `fields` are those of the record.
        """
        trial_id = self.study.next_trial_id
        first = program or trial_id
        origin = self.study.trials.get(first)
        if origin is not None:
            parent, lines, tree = origin.claim.parent, origin.claim.source_lines, origin.claim.tree_sha256
        else:
            lines = 200 if source_lines is None else source_lines
            self.true_loss[first] = (self.true_loss[parent] if parent else BASELINE_LOSS) + effect
        own: dict[str, Any] = {
            "description": "synthetic change",
            "parent": parent,
            "program": first,
            "tree_sha256": tree or digest(first),
            "constants_changed": dict(constants or {}),
            "source_lines": lines,
            "seed": len(self.study.trials),
            "read_seq": len(self.records),
        }
        self.write(claim(trial_id, **(own | fields)))
        return trial_id

    def baseline(self, **options: Any) -> str:
        base = self.study.baseline
        return self.claim(
            operator=Operator.BASELINE,
            family="baseline",
            description="synthetic baseline",
            program=base.name if base is not None else None,
            **options,
        )

    def start(self, trial_id: str, *, after_s: float = 1.0) -> None:
        self.write(
            started(
                trial_id,
                agent_id=self.study.trials[trial_id].claim.agent_id,
                commit=digest(trial_id)[:40],
                reservation_mib=900,
            ),
            after_s=after_s,
        )

    def draw(self, trial_id: str) -> float:
        """A loss for this trial: the program's true loss plus run-to-run noise."""
        program = self.study.trials[trial_id].claim.program
        return self.random.gauss(self.true_loss[program], self.sigma)

    def finish(
        self,
        trial_id: str,
        loss: float | None = None,
        *,
        after_s: float = 20.0,
        conclude_now: bool = True,
        peak_mib: int = 700,
        host_peak_mib: int | None = None,
        curve: Sequence[tuple[float, float]] = (),
        rungs: Sequence[tuple[float, float]] = (),
        audit: bool = False,
        waited_s: float = 0.5,
        overlap_s: float = 0.0,
        resources: Resources | None = None,
    ) -> TrialFinished:
        if self.study.trials[trial_id].started is None:
            self.start(trial_id)
        claimed = self.study.trials[trial_id].claim
        record = self.write(
            finished(
                trial_id,
                self.draw(trial_id) if loss is None else loss,
                agent_id=claimed.agent_id,
                description=claimed.description,
                resources=resources
                or Resources(
                    device="cpu", training_s=after_s, wall_s=after_s, peak_mib=peak_mib,
                    host_peak_mib=host_peak_mib, waited_s=waited_s, overlap_s=overlap_s,
                ),
                seed=claimed.seed,
                curve=tuple(curve),
                rungs=tuple(rungs),
                audit=audit,
            ),
            after_s=after_s,
        )  # fmt: skip
        assert isinstance(record, TrialFinished)
        if conclude_now:
            self.conclude(trial_id)
        return record

    def conclude(self, trial_id: str) -> None:
        for verdict in conclude(self.study, trial_id):
            self.write(verdict, after_s=0.0)

    def fail(
        self,
        trial_id: str,
        reason: FailReason = FailReason.CRASHED,
        *,
        after_s: float = 5.0,
        rungs: Sequence[tuple[float, float]] = (),
        detail: str = "synthetic failure",
    ) -> None:
        if self.study.trials[trial_id].started is None:
            self.start(trial_id)
        claimed = self.study.trials[trial_id].claim
        self.write(
            finished(
                trial_id,
                None,
                agent_id=claimed.agent_id,
                description=claimed.description,
                reason=reason,
                detail=detail,
                resources=None,
                seed=claimed.seed,
                rungs=tuple(rungs),
            ),
            after_s=after_s,
        )

    def refuse(
        self,
        *,
        code: str = "duplicate",
        agent_id: str = "worker_1",
        repeats: str | None = None,
        proposer: str = "scripted",
    ) -> None:
        self.write(
            ProposalRejected(
                agent_id=agent_id,
                description="synthetic proposal",
                code=code,
                detail=f"synthetic refusal: {code}",
                proposer=proposer,
                repeats=repeats,
            )
        )

    def status(self, agent_id: str, status: str, trial_id: str | None = None, *, after_s: float = 0.5) -> None:
        self.write(
            WorkerStatus.model_validate(
                {"agent_id": agent_id, "status": status, "trial_id": trial_id, "description": status}
            ),
            after_s=after_s,
        )

    def measure_noise(self, runs: int = 5) -> None:
        for _ in range(runs):
            self.finish(self.baseline())

    def try_change(self, effect: float = 0.0, loss: float | None = None, *, peak_mib: int = 700, **options: Any) -> str:
        """Claim a change of the incumbent, run it and judge it; its name."""
        incumbent = self.study.incumbent
        assert incumbent is not None
        options.setdefault("parent", incumbent.name)
        trial_id = self.claim(effect=effect, **options)
        self.finish(trial_id, loss, peak_mib=peak_mib)
        return trial_id

    def hold_finals(self, slots: int = 12, losses: Mapping[str, float] | None = None) -> FinalsClosed:
        """Begin finals with so many slots, run all of them and end them. `losses` by program; else they are drawn."""
        opened = finals.begin(self.study, slots)
        assert opened is not None
        self.write(opened)
        while owed := finals.where(self.study, opened).owed:
            self.finals_run(owed[0], losses)
        for record in finals.close(self.study, opened):
            closed = self.write(record)
        assert isinstance(closed, FinalsClosed)
        return closed

    def finals_run(self, run: finals.Run, losses: Mapping[str, float] | None = None) -> str:
        trial_id = self.claim(
            program=run.program,
            operator=Operator.REPLICATE,
            description="synthetic run of the finals",
            finals=self.study.finals[-1].number,
            finals_round=run.round,
        )
        self.finish(trial_id, (losses or {}).get(run.program))
        return trial_id

    def replicate(self, program: str, loss: float | None = None) -> str:
        trial_id = self.claim(program=program, operator=Operator.REPLICATE, description="synthetic replicate")
        self.finish(trial_id, loss)
        return trial_id


def written(records: Sequence[Record], path: Path) -> Path:
    """A brain file that holds these records, each at its own time."""
    clock = FakeClock()
    brain = Brain(path, clock=clock)
    for record in records:
        clock.jump(record.at - clock.now())
        brain.append(record.model_copy(update={"seq": 0, "prev": ""}))
    return brain.path


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def demo_study(seed: int = 3, pairs: int = 14) -> FakeStudy:
    """Two workers side by side, with gains, luck, failures, refusals, curves and constants: something of everything."""
    fake = FakeStudy(seed=seed)
    for status in ("started", "proposing"):
        for agent in ("worker_1", "worker_2"):
            fake.status(agent, status)
    for _ in range(3):
        _run_pair(fake, [fake.baseline(agent_id=agent) for agent in ("worker_1", "worker_2")])
    for index in range(pairs):
        _run_pair(fake, [_demo_claim(fake, agent, index) for agent in ("worker_1", "worker_2")])
        if index % 4 == 2:
            fake.refuse(agent_id="worker_2", repeats="t0007")
    fake.claim(parent="t0001", description="still waiting for memory", agent_id="worker_1")
    return fake


def _demo_claim(fake: FakeStudy, agent: str, index: int) -> str:
    owed = replicates_owed(fake.study)
    if owed and agent == "worker_2":
        return fake.claim(
            program=owed[0], operator=Operator.REPLICATE, family="replicate", description="replicate", agent_id=agent
        )
    incumbent = fake.study.incumbent
    assert incumbent is not None
    if agent == "worker_2":
        return fake.claim(
            parent=incumbent.name,
            effect=fake.random.choice([-0.02, 0.01, 0.03]),
            operator=Operator.STRUCTURAL,
            family="architecture",
            agent_id=agent,
            description=f"synthetic edit {index}: <b>zero</b> the last gamma of each residual branch & drop its bias",
            source_lines=200 + index - 6,
            expects=-0.01,
        )
    old: dict[str, Scalar] = {"MAX_LR": 0.01, "WIDTH": 40, "ACTIVATION": "relu"}
    tried = {"MAX_LR": (0.003, 0.03, 0.1), "WIDTH": (32, 48, 64), "ACTIVATION": ("silu", "gelu")}
    name, values = list(tried.items())[index % 3]
    value = values[index // 3 % len(values)]
    related = tuple(trial.trial_id for trial in fake.study.finished_trials()[-4:])
    return fake.claim(
        parent=incumbent.name,
        effect=-0.06 if index in {2, 7} else fake.random.choice([0.0, 0.015, 0.05]),
        agent_id=agent,
        family="optimiser",
        description=f"synthetic: set {name} to {value}",
        constants={name: (old[name], value)},
        cites=related[-1:],
        nearest=related,
        expects=-0.02,
    )


def _run_pair(fake: FakeStudy, trial_ids: Sequence[str]) -> None:
    for trial_id in trial_ids:
        fake.start(trial_id, after_s=1.5)
    for place, trial_id in enumerate(trial_ids):
        wait_s = 18.0 if place == 0 else fake.random.uniform(1, 6)
        if place == 0 and fake.random.random() < 0.12:
            fake.fail(trial_id, fake.random.choice([FailReason.CRASHED, FailReason.OUT_OF_MEMORY]), after_s=7)
            continue
        loss = fake.draw(trial_id)
        rungs = [(0.25, loss + 0.9 + fake.random.gauss(0, 0.03)), (0.5, loss + 0.4 + fake.random.gauss(0, 0.02))]
        fake.finish(
            trial_id,
            loss,
            after_s=wait_s,
            peak_mib=600 + 40 * fake.random.randrange(8),
            curve=[(step / 20, loss + 2.2 * (1 - step / 20) ** 2 + fake.random.gauss(0, 0.02)) for step in range(21)],
            rungs=rungs,
            overlap_s=wait_s - 2 if wait_s > 2 else 0.0,
        )
