"""The border of a certificate: what is run, what is refused, and where it is written. Real git; the executor is
scripted."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from factories.settings import run_settings
from factories.studies import FakeStudy
from fakes.fake_clock import FakeClock
from fakes.git_repository import GitRepository, make_repository

from swarm.brain import Brain
from swarm.cli.again import certificate_text
from swarm.errors import SwarmError, UsageError
from swarm.execution.executor import Outcome, Progress, TrialOrder
from swarm.orchestrator.aside import Aside
from swarm.orchestrator.audit import append, audit_of, lines
from swarm.orchestrator.certifying import Asked, certify
from swarm.records import FailReason, Score, TargetTerms, TrialFinished, TrialStarted
from swarm.repo import Repo, trial_ref
from workers.briefing.compute import compute_briefing
from workers.render import render

SOURCE, BETTER = "RATE = 0.1\n", "RATE = 0.5\n"
TEST_LOSS = 3.14159


class Scripted:
    """The better program is better by 0.3 on the validation split and by 0.2 on the test split. `stop_at`: the number
    of the order during which a person presses Ctrl-C."""

    def __init__(self, trials: Path) -> None:
        self.orders: list[TrialOrder] = []
        self.stop_at: int | None = None
        self.fails: FailReason | None = None
        self._trials = trials
        self._stopped = False

    def submit(self, order: TrialOrder) -> "Scripted":
        self.orders.append(order)
        (self._trials / order.trial_id / "private").mkdir(parents=True)
        return self

    def poll(self) -> Outcome | Progress:
        order = self.orders[-1]
        if len(self.orders) == self.stop_at and not self._stopped:
            self._stopped = True
            raise KeyboardInterrupt
        if self.fails is not None:
            return Outcome(reason=self.fails, detail="no card")
        gain = 0.3 if order.split == "val" else 0.2
        base = 2.0 if order.split == "val" else TEST_LOSS
        scatter = 0.01 * (order.seed % 3 - 1) if order.split == "val" else 0.0
        loss = base - gain * (order.files["train.py"] == BETTER.encode()) + scatter
        return Outcome(score=Score(validation_loss=loss, top1=0.5, top5=0.7, calibrated_loss=0, rows=1))

    def losses(self, trial_id: str) -> list[float]:
        return [1.0, 2.0, 3.0 if trial_id.startswith("t0001") else 2.5]

    def stop(self, reason: str) -> None:
        assert reason == "stopped by the user"


Beside = Callable[..., tuple[Aside, Scripted]]


@pytest.fixture
def repo(tmp_path: Path) -> GitRepository:
    repo = make_repository(tmp_path / "repo")
    repo.write("models/tiny/train.py", SOURCE)
    repo.commit("a program")
    return repo


@pytest.fixture
def beside(repo: GitRepository) -> Beside:
    """A study whose finals kept its one change, if they were held."""

    def make(*, finals: bool = True) -> tuple[Aside, Scripted]:
        head = repo.git("rev-parse", "HEAD")
        fake = FakeStudy(seed=3)
        fake.measure_noise()
        better = fake.try_change(effect=-0.3)
        for _ in range(2):
            fake.replicate(better)
        if finals:
            assert fake.hold_finals(slots=12).kept
        settings = run_settings(repo.root, study_id=fake.study.study_id, base_commit=head)
        real = Repo.open(repo.root)
        ref = trial_ref(settings.study_id, better)
        changed = real.commit_change(head, {"models/tiny/train.py": BETTER}, "better", ref)
        brain = Brain(settings.brain)
        for record in fake.records:
            update: dict[str, object] = {"seq": 0, "prev": ""}
            if record.kind == "study_opened":
                update["base_commit"] = head
            elif isinstance(record, TrialStarted | TrialFinished):
                update["commit"] = head if fake.study.trials[record.trial_id].claim.program == "t0001" else changed
            brain.append(record.model_copy(update=update))
        executor = Scripted(settings.layout.trials(settings.study_id))
        return Aside(settings, brain, real, executor, FakeClock()), executor  # type: ignore[arg-type]

    return make


def quietly(text: str) -> None:
    pass


def test_fresh_seeds_and_both_splits_for_what_is_kept_and_the_baseline(beside: Beside) -> None:
    there, executor = beside()
    result = certify(there, Asked(seeds=5), quietly)
    assert len(executor.orders) == 20
    assert [order.split for order in executor.orders] == ["val"] * 10 + ["test"] * 10
    seeds = {order.seed for order in executor.orders}
    assert len(seeds) == 5
    assert not seeds & {trial.claim.seed for trial in there.study.trials.values()}, "a seed of the search"
    (one,) = result.programs
    assert one.validation is not None and one.test is not None and one.lost is not None
    assert (one.validation.gain, one.test.gain, one.lost) == pytest.approx((0.3, 0.2, 0.1))
    text = certificate_text(result, there.study.objective)
    assert "validation minus test +0.1000" in text and "the first look" in text


def test_where_noise_is_of_items_each_run_has_them(beside: Beside) -> None:
    there, _ = beside()
    certify(there, Asked(seeds=2), say=lambda _: None)
    assert all(line.get("items", []) == [] for line in lines(audit_of(there.settings.brain)))
    of_items = there.settings.model_copy(update={"terms": TargetTerms(noise="items")})
    certify(replace(there, settings=of_items), Asked(seeds=2, again=True), say=lambda _: None)
    runs = [line for line in lines(audit_of(there.settings.brain)) if line["kind"] == "certificate_run"][8:]
    assert len(runs) == 8 and all(line["items"] in ([1.0, 2.0, 3.0], [1.0, 2.0, 2.5]) for line in runs)


def test_a_second_look_is_refused_unless_asked_for_and_recorded(beside: Beside) -> None:
    there, executor = beside()
    certify(there, Asked(seeds=2), quietly)
    first = {order.seed for order in executor.orders}
    with pytest.raises(UsageError, match="--again"):
        certify(there, Asked(seeds=2), quietly)
    assert len(executor.orders) == 8
    second = certify(there, Asked(seeds=2, again=True), quietly)
    assert (second.number, second.again) == (2, True)
    assert not first & {order.seed for order in executor.orders[8:]}, "a second look has seeds of its own"
    ends = [line for line in lines(audit_of(there.settings.brain)) if line["kind"] == "certificate"]
    assert [(line["number"], line["again"]) for line in ends] == [(1, False), (2, True)]
    assert "look 2 at the test split" in certificate_text(second, there.study.objective)


def test_what_the_test_split_said_is_in_no_brain_no_briefing_and_no_folder(beside: Beside) -> None:
    there, _ = beside()
    before = there.settings.brain.read_bytes()
    certify(there, Asked(seeds=2), quietly)
    assert there.settings.brain.read_bytes() == before
    assert str(TEST_LOSS) in audit_of(there.settings.brain).read_text(), "it is looked for under its own name"
    study = there.brain.snapshot().studies[there.settings.study_id]
    briefing = compute_briefing(
        study,
        agent_id="worker_1",
        role="climber",
        program_text="",
        read_source=lambda commit: SOURCE,
        read_seq=0,
        memory="shared",
        seed=0,
        sigma=0.01,
    )
    told = f"{render(briefing)} {briefing}"
    prompts = "".join(path.read_text() for path in (Path(__file__).parents[3] / "workers" / "prompts").glob("*.md"))
    for text in (told, prompts):
        assert not [word for word in ("3.14", "2.94", "_audit", "certif", "test split") if word in text]
    trials = there.settings.layout.trials(there.settings.study_id)
    assert list(trials.iterdir()) == [], "private/ of a trial holds the loss of each test image"


def test_nothing_kept_is_refused_with_the_remedy(beside: Beside) -> None:
    there, executor = beside(finals=False)
    with pytest.raises(UsageError, match="swarm finals"):
        certify(there, Asked(seeds=5), quietly)
    assert executor.orders == [] and not audit_of(there.settings.brain).exists()


@pytest.mark.parametrize("asked", [Asked(seeds=0), Asked(seeds=5, top=0)])
def test_numbers_that_make_no_sense_are_refused(beside: Beside, asked: Asked) -> None:
    with pytest.raises(UsageError, match="it is 1"):
        certify(beside()[0], asked, quietly)


def test_after_ctrl_c_it_goes_on_where_it_was(beside: Beside) -> None:
    there, executor = beside()
    executor.stop_at = 6
    with pytest.raises(KeyboardInterrupt):
        certify(there, Asked(seeds=3), quietly)
    assert len([line for line in lines(audit_of(there.settings.brain)) if line["kind"] == "certificate_run"]) == 5
    said: list[str] = []
    result = certify(there, Asked(seeds=5), said.append)
    assert "going on with certificate 1" in said[0] and said[1].startswith("6 of 12")
    runs = [(order.files["train.py"], order.split, order.seed) for order in executor.orders]
    assert len(runs) == 13 and len(set(runs)) == 12 and runs[5] == runs[6]
    assert result.programs[0].validation is not None and result.programs[0].validation.runs == 3


def test_a_trial_that_could_not_be_run_is_no_result(beside: Beside) -> None:
    there, executor = beside()
    executor.fails = FailReason.ABANDONED
    with pytest.raises(SwarmError, match="goes on"):
        certify(there, Asked(seeds=2), quietly)
    executor.fails = None
    assert certify(there, Asked(seeds=2), quietly).programs[0].lost is not None


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"number":1', '"number":"\\u001b[31mfirst"', "line 1 is no certificate_begun line: number: "),
        ('"seeds":[', '"seeds":[],"was":[', "line 1 is no certificate_begun line: seeds: "),
        ('"value":', '"value":"good","was":', "line 2 is no certificate_run line: value: "),
        ('"programs":["', '"programs":["t9999","', "names t9999, which study"),
    ],
)
def test_a_line_that_was_changed_by_hand_is_named_and_nothing_is_run(
    beside: Beside, old: str, new: str, said: str
) -> None:
    there, executor = beside()
    executor.stop_at = 3
    with pytest.raises(KeyboardInterrupt):
        certify(there, Asked(seeds=2), quietly)
    path, ran = audit_of(there.settings.brain), len(executor.orders)
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(SwarmError, match=re.escape(said)) as problem:
        certify(there, Asked(seeds=2), quietly)
    assert str(problem.value).isprintable() and "by hand" in str(problem.value)
    assert len(executor.orders) == ran


@pytest.mark.parametrize(("place", "kept"), [("before", 1), ("after", 2)])
def test_who_dies_at_the_audit_loses_no_line_that_was_there(tmp_path: Path, place: str, kept: int) -> None:
    path = tmp_path / "audit.jsonl"
    append(path, json.dumps({"kind": "a"}))
    dies = {**os.environ, "SWARM_FAILPOINT": f"audit.{place}_append:kill"}
    code = "import sys, pathlib; from swarm.orchestrator.audit import append; append(pathlib.Path(sys.argv[1]), '{}')"
    assert subprocess.run([sys.executable, "-c", code, path], env=dies, check=False).returncode == -signal.SIGKILL
    assert len(list(lines(path))) == kept
    append(path, json.dumps({"kind": "c"}))
    assert [line.get("kind") for line in lines(path)] == ["a", *[None] * (kept - 1), "c"]


def test_a_torn_line_of_the_audit_costs_only_itself(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_text('{"kind": "a"}\n{"kind": "b", "torn')
    append(path, json.dumps({"kind": "c"}))
    assert [line["kind"] for line in lines(path)] == ["a", "c"]
