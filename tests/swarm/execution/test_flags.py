"""What is odd about an attempt is named, and work that others did not have costs it its score."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from swarm.errors import TrialError
from swarm.execution.attempt import read_attempt
from swarm.execution.evidence import Terms
from swarm.records import Budget, FailReason
from swarm.sandbox import SandboxReport
from swarm.supervisor import PhaseResult, TrialResult
from swarm.trial.contract import ExitCode, Phase
from swarm.trial.folder import TrialFolder

TERMS = Terms(Budget(kind="solo_seconds", amount=20, walltime_limit_s=600), "cpu", threads=1)
SAMPLES = Terms(Budget(kind="samples", amount=10_000, walltime_limit_s=600), "cpu", threads=1)
REPORT = {
    "steps": 200, "samples": 20_000, "training_seconds": 20.0, "wall_seconds": 21.0, "loop_cpu_seconds": 20.0,
    "overhead_s": {"import": 2.0},
}  # fmt: skip
SCORE = {"validation_loss": 2.5, "top1": 0.4, "top5": 0.7, "calibrated_loss": 2.4, "rows": 5000}


def phase(name: Phase, **fields: object) -> PhaseResult:
    own = {Phase.TRAIN: 20.5, Phase.PREDICT: 1.5, Phase.REPEAT: 0.3}.get(name, 0.0)
    known = PhaseResult(
        name=name, started_s=0.0, seconds=23.0, cpu_seconds=own + 2, peak_rss_mib=500.0, exit_code=0, signal=None,
        ending="ok", ready_s=1.0, counted=True, begun=True, own_cpu_s=own, own_s=own,
    )  # fmt: skip
    return replace(known, **fields)  # type: ignore[arg-type]


class Trial:
    """A trial that went well, until a test changes one thing."""

    def __init__(self, root: Path) -> None:
        self.folder = TrialFolder(root)
        self.folder.make()
        self.folder.logs.mkdir(exist_ok=True)
        self.phases = {name: phase(name) for name in (Phase.TRAIN, Phase.PREDICT, Phase.REPEAT)}
        self.report, self.score, self.terms = dict(REPORT), dict(SCORE), TERMS

    def flags(self) -> tuple[str, ...]:
        return self.attempt().flags

    def attempt(self):
        self.folder.train_report.write_text(json.dumps(self.report))
        self.folder.score.write_text(json.dumps(self.score))
        result = TrialResult("t0001", tuple(self.phases.values()), SandboxReport("none"), 0.0, 1.0)
        return read_attempt(self.folder, result, self.terms)

    def change(self, name: Phase, **fields: object) -> None:
        self.phases[name] = replace(self.phases[name], **fields)  # type: ignore[arg-type]


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    return Trial(tmp_path / "t0001")


def test_a_trial_that_keeps_to_its_terms_has_a_score_and_no_flag(trial: Trial) -> None:
    attempt = trial.attempt()
    assert (attempt.flags, attempt.reason) == ((), None)
    assert attempt.score is not None and attempt.score.validation_loss == 2.5


def refused(trial: Trial, flag: str) -> str:
    attempt = trial.attempt()
    assert flag in attempt.flags and attempt.score is None and attempt.reason is FailReason.OVER_BUDGET
    assert attempt.detail.startswith(flag) or f"; {flag}" in attempt.detail
    return attempt.detail


def test_work_that_only_the_supervisor_saw_costs_the_score(trial: Trial) -> None:
    """In children, in threads, before the clock or after it: it is all in what was counted from outside."""
    trial.change(Phase.TRAIN, own_cpu_s=26.0)
    assert "26.0 CPU seconds (limit 2" in refused(trial, "over_budget")


def test_a_budget_in_samples_is_held_to_what_its_clock_saw(trial: Trial) -> None:
    trial.terms, trial.report["samples"] = SAMPLES, 10_050
    assert trial.flags() == ()
    trial.change(Phase.TRAIN, own_cpu_s=24.0)
    refused(trial, "over_budget")


@pytest.mark.parametrize(("terms", "claim"), [(TERMS, {"training_seconds": 26.0}), (SAMPLES, {"samples": 20_000})])
def test_a_training_that_says_itself_that_it_went_on_has_no_score(
    trial: Trial, terms: Terms, claim: dict[str, object]
) -> None:
    trial.terms = terms
    trial.report |= claim
    refused(trial, "over_budget")


def test_optimiser_steps_off_the_clock_cost_the_score(trial: Trial) -> None:
    trial.report["off_clock_steps"] = 5
    assert "5 optimiser steps off the clock" in refused(trial, "over_budget")


def test_a_budget_in_samples_pays_for_each_image_once(trial: Trial) -> None:
    trial.terms, trial.report["samples"], trial.report["optimizer_steps"] = SAMPLES, 10_050, 200
    assert trial.flags() == ()
    trial.report["optimizer_steps"] = 1000
    refused(trial, "over_budget")


@pytest.mark.parametrize("name", [Phase.PREDICT, Phase.REPEAT])
def test_work_in_a_prediction_costs_the_score(trial: Trial, name: Phase) -> None:
    trial.change(name, own_cpu_s=40.0)
    assert "limit " in refused(trial, "long_predict")


def test_rungs_that_came_at_other_times_are_no_rungs(trial: Trial) -> None:
    (trial.folder.private / "rung_25.json").write_text(json.dumps({"progress": 0.25, "loss": 3.0}))
    trial.change(Phase.TRAIN, rungs=((25, 5.2, 5.2),))
    assert (trial.flags(), trial.attempt().rungs) == ((), ((0.25, 3.0),))
    trial.change(Phase.TRAIN, rungs=((25, 18.0, 18.0),))
    assert ("odd_rungs" in trial.flags(), trial.attempt().rungs) == (True, ())


@pytest.mark.parametrize(
    ("flag", "where", "said"),
    [
        ("denied", Phase.TRAIN, "PermissionError: [Errno 13] Permission denied: '/data'"),
        ("denied", Phase.PREDICT, "OSError: [Errno 1] Operation not permitted"),
        ("pried", Phase.TRAIN, "reading /proc/1/environ"),
        ("self_report", Phase.TRAIN, "val_loss: 0.001"),
    ],
)
def test_what_a_log_gives_away(trial: Trial, flag: str, where: Phase, said: str) -> None:
    trial.folder.log(where).write_text(f"step 1\n{said}\n")
    attempt = trial.attempt()
    assert attempt.flags == (flag,) and attempt.score is not None


@pytest.mark.parametrize(
    ("flag", "claim"),
    [
        ("own_seed", {"own_seed": True}),
        ("cap_lifted", {"cap_lifted": True}),
        ("clock_mismatch", {"wall_seconds": 2.0}),
        ("not_alone", {"meter": {"measured_alone": False}}),
        ("drift", {"meter": {"drift_flag": True}}),
    ],
)
def test_what_a_report_gives_away(trial: Trial, flag: str, claim: dict[str, object]) -> None:
    trial.report |= claim
    assert trial.flags() == (flag,)


def test_what_the_supervisor_saw_besides(trial: Trial) -> None:
    trial.change(Phase.TRAIN, left_processes=2)
    assert trial.flags() == ("left_processes",)
    trial.change(Phase.TRAIN, left_processes=0, gate_held_s=50.0)
    assert trial.flags() == ("hoarded_gate",)


def test_an_exit_code_that_a_candidate_chooses_is_only_data(trial: Trial) -> None:
    """The same code before its own code began is a failed set-up, and no failed trial."""
    code = int(ExitCode.SETUP_FAILED)
    trial.change(Phase.TRAIN, ending="exit", exit_code=code)
    assert trial.attempt().reason is FailReason.CRASHED
    trial.change(Phase.TRAIN, begun=False)
    with pytest.raises(TrialError, match="could not be set up"):
        trial.attempt()


@pytest.mark.parametrize(
    ("spoiled", "words"),
    [
        ({"validation_loss": "low"}, "left no score"),
        ({"error": "pickles"}, "pickles"),
        ({"rows": None}, "left no score"),
    ],
)
def test_a_score_that_is_none_is_invalid_output(trial: Trial, spoiled: dict[str, object], words: str) -> None:
    trial.score |= spoiled
    attempt = trial.attempt()
    assert (attempt.score, attempt.reason) == (None, FailReason.INVALID_OUTPUT) and words in attempt.detail


@pytest.mark.parametrize("content", ["", "no json", "[1]", '{"steps": "many"}', '{"curve": ' + "[" * 5000 + "}"])
def test_a_report_that_is_none_is_named_and_believed_in_nothing(trial: Trial, content: str) -> None:
    trial.folder.score.write_text(json.dumps(SCORE))
    trial.folder.train_report.write_text(content)
    result = TrialResult("t0001", tuple(trial.phases.values()), SandboxReport("none"), 0.0, 1.0)
    attempt = read_attempt(trial.folder, result, TERMS)
    assert attempt.flags == ("bad_report",) and attempt.score is not None
