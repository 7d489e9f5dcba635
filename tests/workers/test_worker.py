"""A worker's worker beside a real repository and a real brain: what it prepares, rebases and writes down.

No trial runs here: the records of trials are appended as their runner would.
"""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fakes.fake_llm import FakeLLM, Request, Stall, Step, envelope
from fakes.tiny_study import TRAIN, TinyStudy, make_tiny_study

from swarm import verdict
from swarm.brain import Brain
from swarm.clock import SystemClock
from swarm.records import (
    Budget,
    Operator,
    ProposalClaimed,
    Score,
    StudyOpened,
    TrialFinished,
    TrialStarted,
    TrialState,
)
from swarm.repo import Repo
from swarm.study.settings import ProposerSettings, RunSettings
from swarm.study.state import StudyState, Trial
from workers.dispatch import DIAGNOSIS, Propose
from workers.dispatch.stall import STALL
from workers.drafts import Background
from workers.worker import Worker

RATE = "MAX_LR = 0.05  # search: log(1e-3, 1.0)"
DECAY = "WEIGHT_DECAY = 1e-4  # search: log(1e-5, 1e-2)"
KEY = {"OPENAI_API_KEY": "a-key-of-nobody"}


def faster(request: Request) -> str:
    return envelope(RATE, RATE.replace("0.05", "0.1"), cites=cited(request))


def lighter(request: Request) -> str:
    return envelope(DECAY, DECAY.replace("1e-4", "1e-3"), cites=cited(request))


def cited(request: Request) -> list[str]:
    return re.findall(r'"id": "(t\d+)"', request.prompt)[:1]


class Counting:
    """Another rate in each answer."""

    def __init__(self) -> None:
        self.answers = 0

    def __call__(self, request: Request) -> str:
        self.answers += 1
        return envelope(RATE, RATE.replace("0.05", f"{0.05 * 1.2**self.answers:.4g}"), cites=cited(request))


class Office:
    """One worker at its worker; `records` of others are written by hand."""

    def __init__(self, tiny: TinyStudy, server: FakeLLM, *, trials: int | None = None) -> None:
        self.server = server
        head = tiny.repo.git("rev-parse", "HEAD")
        budget = Budget(kind="samples", amount=3000, walltime_limit_s=60)
        chosen = ProposerSettings(spec="openai", model="fake", base_url=server.url)
        self.settings = RunSettings(
            study_id="s", root=tiny.root, brain=tiny.brain, target="tiny", target_folder="models/tiny",
            editable="train.py", base_commit=head, program_text="Lower it.", device="cpu", dataset="standin",
            data_dir=tiny.root, classes=100, budget=budget, memory_mib=100, threads=1, workers=1, seed=0,
            noise_replicates=2, trials=trials, deadline_at=None, proposers={"worker_1": chosen}, harness_sha256="h",
        )  # fmt: skip
        self.brain = Brain(tiny.brain)
        self.repo = Repo.open(tiny.root)
        self.brain.append(
            StudyOpened(
                study_id="s", target="tiny", target_folder="models/tiny", editable="train.py", base_commit=head,
                base_tree_sha256="b", objective_sha256="o", harness_sha256="h", program_sha256="p", budget=budget,
                data="standin", classes=100, device="cpu", device_name="cpu", workers=1, seed=0, noise_replicates=2,
            )
        )  # fmt: skip
        self.worker = Worker(self.settings, "worker_1", SystemClock(), KEY)

    @property
    def study(self) -> StudyState:
        study = self.brain.snapshot().latest
        assert study is not None
        return study

    def finish(self, trial: Trial, loss: float) -> None:
        program = trial.claim.program
        commit = self.repo.refs("s").get(program, self.settings.base_commit)
        name = {"study_id": "s", "trial_id": trial.trial_id}
        self.brain.append(
            TrialStarted(**name, commit=commit, reservation_mib=1, lease_id="l", device_uuid="cpu"),
            TrialFinished(
                **name, state=TrialState.COMPLETE, seed=1, validation_loss=loss,
                score=Score(validation_loss=loss, top1=0, top5=0, calibrated_loss=loss, rows=5),
            ),
        )  # fmt: skip
        for reached in verdict.conclude(self.study, trial.trial_id):
            self.brain.append(reached.model_copy(update={"study_id": "s"}))

    def measure_noise(self) -> None:
        for loss in (2.0, 2.001):
            self.finish(self.worker.claim_baseline(), loss)

    def another_worker_finds(self, old: str, new: str, loss: float = 1.0) -> str:
        """A program of worker_2 that the study builds on from now on."""
        name = self.study.next_trial_id
        source = TRAIN.replace(old, new)
        assert source != TRAIN
        ref = f"refs/swarm/s/{name}"
        self.repo.commit_change(self.settings.base_commit, {self.settings.editable_path: source}, name, ref)
        self.brain.append(
            ProposalClaimed(
                study_id="s", agent_id="worker_2", trial_id=name, operator=Operator.TUNE, family="optimiser",
                parent="t0001", program=name, tree_sha256=name, seed=1, read_seq=1, proposer="tpe", arm="tpe",
            )
        )  # fmt: skip
        self.finish(self.study.trials[name], loss)
        assert self.study.incumbent is not None and self.study.incumbent.name == name
        return name

    def draft(self) -> Background:
        """The prepared draft, once it is there."""
        deadline = time.monotonic() + 20
        while self.background.leftover() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert self.background.leftover() is not None
        return self.background

    @property
    def background(self) -> Background:
        return self.worker.proposing.background


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TinyStudy:
    study = make_tiny_study(tmp_path)
    monkeypatch.setenv("SWARM_GPU_DIR", str(study.ledger))
    study.root.joinpath(".swarm/studies/s").mkdir(parents=True)
    return study


@contextmanager
def office(tiny: TinyStudy, *script: Step, **options: int) -> Iterator[Office]:
    with FakeLLM(script) as server:
        yield Office(tiny, server, **options)


PROPOSE = Propose(arm="llm", role="climber", seed=1)


def test_the_first_proposal_is_made_during_the_last_run_of_the_noise_floor(tiny: TinyStudy) -> None:
    with office(tiny, faster) as at:
        at.worker.claim_baseline()
        at.worker.prepare_next()
        assert not at.background.busy and at.server.requests == []
        at.worker.claim_baseline()
        at.worker.prepare_next()
        at.draft()
        assert len(at.server.requests) == 1


def test_a_proposal_is_prepared_during_a_replicate_and_none_for_a_trial_that_will_not_be(tiny: TinyStudy) -> None:
    with office(tiny, lighter, trials=5) as at:
        at.measure_noise()
        leader = at.another_worker_finds("MAX_LR = 0.05", "MAX_LR = 0.2")
        at.finish(at.worker.claim_replicate(leader), 1.0)
        assert len(at.study.trials) == 4 and verdict.replicates_owed(at.study)
        at.worker.prepare_next()
        at.draft()
        at.worker.claim_replicate(leader)
        at.background.take(0)
        at.worker.prepare_next()
        assert not at.background.busy and len(at.server.requests) == 1


def test_a_prepared_proposal_follows_the_incumbent_and_keeps_its_receipt(tiny: TinyStudy) -> None:
    with office(tiny, lighter) as at:
        at.measure_noise()
        at.worker.prepare_next()
        draft = at.draft().leftover()
        assert draft is not None and draft.follows == "t0001"
        leader = at.another_worker_finds("MAX_LR = 0.05", "MAX_LR = 0.2")
        trial = at.worker.claim_proposal(PROPOSE)
        assert trial is not None
        claim = trial.claim
        assert (claim.parent, claim.constants_changed) == (leader, {"WEIGHT_DECAY": (1e-4, 1e-3)})
        assert (claim.read_seq, claim.briefing_sha256) == (draft.briefing.read_seq, draft.briefing.sha256)
        assert claim.briefing_tokens == pytest.approx(len(at.server.requests[0].prompt) / 4, abs=3)
        source = at.repo.read(at.repo.refs("s")[trial.trial_id], at.settings.editable_path)
        assert "MAX_LR = 0.2" in source and "WEIGHT_DECAY = 1e-3" in source


def test_one_that_conflicts_with_the_new_incumbent_is_recorded_with_its_price(tiny: TinyStudy) -> None:
    with office(tiny, faster) as at:
        at.measure_noise()
        at.worker.prepare_next()
        at.draft()
        leader = at.another_worker_finds("MAX_LR = 0.05", "MAX_LR = 0.2")
        assert at.worker.claim_proposal(PROPOSE) is None
        (refusal,) = at.study.rejections
        assert (refusal.code, refusal.arm) == ("conflict", "llm")
        assert f"made on t0001, and the incumbent is {leader} now" in refusal.detail
        assert refusal.usage is not None and refusal.usage.input_tokens == 1000


def test_a_repeat_is_recorded_with_the_trial_that_it_repeats(tiny: TinyStudy) -> None:
    with office(tiny, lighter) as at:
        at.measure_noise()
        first = at.worker.claim_proposal(PROPOSE)
        assert first is not None
        at.finish(first, 2.5)
        at.background.start(PROPOSE)
        assert at.background.take(20) is None
        refusal = at.study.rejections[0]
        assert (refusal.code, refusal.repeats) == ("duplicate", first.trial_id)


def test_what_a_model_answered_for_nothing_is_recorded_at_the_end(tiny: TinyStudy) -> None:
    with office(tiny, faster) as at:
        at.measure_noise()
        at.worker.proposing.clear()
        assert at.study.rejections == []
        at.worker.prepare_next()
        at.draft()
        at.worker.proposing.clear()
        (refusal,) = at.study.rejections
        assert refusal.code == "unused"
        assert refusal.usage is not None and refusal.usage.output_tokens == 200


def test_what_a_model_answered_before_the_study_ended_is_recorded_once(tiny: TinyStudy) -> None:
    may_answer = threading.Event()

    def late(request: Request) -> str:
        may_answer.wait(20)
        return "no edit either"

    with office(tiny, "no edit at all", late) as at:
        at.measure_noise()
        at.worker.prepare_next()
        wait_until(lambda: len(at.server.requests) == 2)
        at.worker.proposing.clear()
        (refusal,) = at.study.rejections
        assert (refusal.code, refusal.arm, refusal.proposer) == ("llm_unfinished", "llm", "openai:fake")
        assert re.search(r"the study ended .*; answers: \(1\) [^(]+$", refusal.detail)
        assert refusal.usage is not None and refusal.usage.output_tokens == 200
        may_answer.set()
        wait_until(lambda: not at.background.busy)
        assert at.background.take(0) is None
        assert at.study.rejections == [refusal]


def test_nothing_is_recorded_of_a_call_that_was_never_answered(tiny: TinyStudy) -> None:
    with office(tiny, Stall()) as at:
        at.measure_noise()
        at.worker.prepare_next()
        wait_until(lambda: len(at.server.requests) == 1)
        at.worker.proposing.clear()
        assert at.study.rejections == []


def wait_until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not reached() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert reached()


def test_beside_a_model_that_answers_rubbish_the_policy_chooses_among_the_embedded_arms(tiny: TinyStudy) -> None:
    with office(tiny, "no edit at all") as at:
        at.measure_noise()
        for _ in range(6):
            trial = at.worker.claim_proposal(PROPOSE)
            assert trial is not None
            at.finish(trial, 2.5)
        arms = [trial.claim.arm for trial in at.study.trials.values() if trial.claim.arm != "baseline"]
        assert {"tpe", "library"} <= set(arms), arms


def test_a_stall_writes_one_diagnosis_into_the_brain(tiny: TinyStudy) -> None:
    with office(tiny, Counting()) as at:
        at.measure_noise()
        for number in range(STALL):
            trial = at.worker.claim_proposal(PROPOSE)
            assert trial is not None, number
            at.finish(trial, 2.5)
        for _ in range(2):
            assert isinstance(at.worker.next_assignment(), Propose)
        (note,) = at.study.notes
        assert (note.topic, note.agent_id) == (DIAGNOSIS, "worker_1")
        assert note.detail.startswith("5 proposals finished without a confirmed keep.")
