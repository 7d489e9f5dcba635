"""A rerun's border: which program, which work, and where the result is written. Real git; the executor is scripted."""

import json
from pathlib import Path

import pytest
from factories.records import claim, finished, started, study_opened
from factories.settings import run_settings
from fakes.fake_clock import FakeClock
from fakes.git_repository import GitRepository, make_repository

from swarm import gate
from swarm.brain import Brain
from swarm.errors import UsageError
from swarm.execution.executor import Outcome, TrialOrder
from swarm.orchestrator.aside import Aside
from swarm.orchestrator.audit import audit_of
from swarm.orchestrator.rerun import rerun
from swarm.records import Budget, Resources, Score
from swarm.repo import Repo

SOURCE = "RATE = 0.1\n"


class Scripted:
    """Answers each order with this loss at once."""

    def __init__(self, loss: float) -> None:
        self.loss = loss
        self.orders: list[TrialOrder] = []

    def submit(self, order: TrialOrder) -> "Scripted":
        self.orders.append(order)
        return self

    def poll(self) -> Outcome:
        return Outcome(score=Score(validation_loss=self.loss, top1=0, top5=0, calibrated_loss=0, rows=1))


@pytest.fixture
def repo(tmp_path: Path) -> GitRepository:
    repo = make_repository(tmp_path / "repo")
    repo.write("models/tiny/train.py", SOURCE)
    repo.commit("a program")
    return repo


def aside(repo: GitRepository, *, loss: float = 2.0, tree: str | None = None) -> tuple[Aside, Scripted]:
    """A study of five runs of its base program, the last with the loss 2.0, in seconds of work."""
    head = repo.git("rev-parse", "HEAD")
    seconds = Budget(kind="solo_seconds", amount=20, walltime_limit_s=60)
    settings = run_settings(repo.root, study_id="s", base_commit=head, budget=seconds)
    brain = Brain(settings.brain)
    brain.append(study_opened(study_id="s", base_commit=head, noise_replicates=5))
    for number, cost in enumerate((2.01, 1.99, 2.005, 1.995, 2.0), start=1):
        name = f"t{number:04d}"
        brain.append(
            claim(
                name,
                study_id="s",
                operator="baseline",
                parent=None,
                program="t0001",
                tree_sha256=tree or gate.tree_sha256(SOURCE),
                seed=number,
            ),
            started(name, study_id="s", commit=head),
            finished(name, cost, study_id="s", resources=Resources(device="cpu", samples=640)),
        )
    executor = Scripted(loss)
    made = Aside(settings, brain, Repo.open(repo.root), executor, FakeClock())  # type: ignore[arg-type]
    return made, executor


def test_the_same_seed_and_work_in_images(repo: GitRepository) -> None:
    there, executor = aside(repo)
    result = rerun(there, "t0005", lambda text: None)
    (order,) = executor.orders
    assert (order.seed, order.budget.kind, order.budget.amount) == (5, "samples", 640)
    assert order.files == {"train.py": SOURCE.encode()} and order.trial_id == "t0005.rerun"
    assert result.reproduced and result.finding == "identical"


@pytest.mark.parametrize(("loss", "found"), [(2.01, "within the noise"), (2.5, "differs"), (1.0, "differs")])
def test_another_result_is_compared_with_the_noise(repo: GitRepository, loss: float, found: str) -> None:
    assert rerun(aside(repo, loss=loss)[0], "t0005", lambda text: None).finding == found


def test_another_program_is_not_run(repo: GitRepository) -> None:
    there, executor = aside(repo, tree="5" * 64)
    result = rerun(there, "t0005", lambda text: None)
    assert (result.finding, result.reproduced, executor.orders) == ("another program", False, [])


def test_it_is_a_line_of_the_audit_and_no_record(repo: GitRepository) -> None:
    there, _ = aside(repo)
    before = there.settings.brain.read_bytes()
    for _ in range(2):
        rerun(there, "t0005", lambda text: None)
    assert there.settings.brain.read_bytes() == before
    audit = audit_of(there.settings.brain)
    assert audit.name == "swarm_brain_audit.jsonl"
    assert [json.loads(line)["trial_id"] for line in audit.read_text().splitlines()] == ["t0005", "t0005"]


def test_what_has_no_result_cannot_be_run_again(repo: GitRepository) -> None:
    with pytest.raises(UsageError, match="no such trial"):
        rerun(aside(repo)[0], "t0099", lambda text: None)
