"""Two arms side by side: the paired analysis on synthetic studies, and real pairs of a tiny target."""

import json
import random
import signal
import statistics
import subprocess
import time
from pathlib import Path

import pytest
from factories.studies import FakeStudy
from fakes.tiny_study import SWARM, TinyStudy, make_tiny_study, stopped_at_the_end, write_script

from swarm.brain import Brain
from swarm.compare.analysis import MIN_PAIRS, bootstrap_interval, compare, compare_pair, longest_block, progress_after
from swarm.compare.text import comparison_lines, comparison_markdown
from swarm.compare.values import Arm, Interval, PairResult
from swarm.errors import SwarmError
from swarm.records import FailReason, Usage
from swarm.study.state import StudyState
from swarm.verdict.finals import finals_costs
from swarm.verdict.standing import Standing
from swarm.verdict.standing import standing as standing_of

ON_CPU = ("--data", "standin", "--device", "cpu")
A, B = Arm(label="A", spec="tpe"), Arm(label="B", spec="openai:m", memory="off")
KNOWN = Usage(model="m", input_tokens=1000, output_tokens=200, usd=0.01)


def study_that_gains(
    effect: float, *, seed: int = 0, replicates: int = 2, start: float | None = None, finals: bool = False
) -> FakeStudy:
    """A noise floor, one change with this true effect, its replicates, and finals of six runs if asked for."""
    fake = FakeStudy(seed=seed)
    if start is not None:
        fake.now = start
    fake.measure_noise()
    changed = fake.try_change(effect=effect)
    for _ in range(replicates):
        fake.replicate(changed)
    if finals:
        fake.hold_finals(slots=6)
    return fake


def spend(fake: FakeStudy, usage: Usage) -> None:
    """The next proposal, made by a model."""
    trial_id = fake.claim(parent="t0001")
    trial = fake.study.trials[trial_id]
    trial.claim = trial.claim.model_copy(update={"usage": usage})
    fake.finish(trial_id, 2.2)


def refuse(fake: FakeStudy, usage: Usage | None) -> None:
    fake.refuse(code="llm_failed")
    record = fake.study.rejections.pop()
    fake.study.rejections.append(record.model_copy(update={"usage": usage}))


def pair(difference: float = 0.0, *, seed: int = 0) -> PairResult:
    found = compare_pair(study_that_gains(-0.3, seed=seed).study, study_that_gains(-0.3, seed=seed).study)
    assert found is not None
    b = found.b.model_copy(update={"leading_loss": found.a.leading_loss + difference})
    return found.model_copy(update={"b": b, "seed": seed})


def compared(*differences: float):
    pairs = [pair(difference, seed=seed) for seed, difference in enumerate(differences)]
    return compare(A, B, pairs, FakeStudy().study)


def test_an_interval_holds_its_mean_and_is_the_same_each_time():
    differences = [0.1, -0.05, 0.02, 0.2, 0.01, 0.07]
    interval = bootstrap_interval(differences)
    assert interval.low < interval.mean < interval.high
    assert interval.mean == pytest.approx(sum(differences) / 6)
    assert bootstrap_interval(differences) == interval
    assert bootstrap_interval([0.1]) == Interval(mean=0.1, low=None, high=None, n=1)
    assert bootstrap_interval([-0.2, -0.2, -0.2]).excludes_zero


def test_a_large_sample_gives_the_normal_interval():
    rng = random.Random(1)
    differences = [rng.gauss(0.1, 1) for _ in range(60)]
    interval = bootstrap_interval(differences)
    half = 1.96 * statistics.stdev(differences) / 60**0.5
    assert interval.high - interval.low == pytest.approx(2 * half, rel=0.1)
    assert interval.high - interval.mean == pytest.approx(half, rel=0.2)


def test_a_study_is_read_as_it_stood_after_some_trials():
    fake = study_that_gains(-0.3, replicates=0, finals=True)
    after = [progress_after(fake.study, count) for count in range(1, 13)]
    assert after[0].leading_loss is not None and after[4].leading_loss == pytest.approx(after[4].baseline_loss)
    assert after[5].leading_loss < after[4].leading_loss - 0.2, "one run is enough to lead"
    assert after[5].confirmed_loss == after[5].baseline_loss, "and not to be confirmed"
    assert [standing.confirmed_gains for standing in after] == [0] * 11 + [1]
    runs = finals_costs(fake.study.programs["t0006"], 1)
    assert after[11].confirmed_loss == pytest.approx(statistics.fmean(runs)) and len(runs) == 3


def test_what_leads_is_no_confirmed_gain():
    fake = study_that_gains(-0.3)
    assert standing_of(fake.study, fake.study.programs["t0006"]) is Standing.LEADING
    standing = progress_after(fake.study, 8)
    assert (standing.confirmed_gains, standing.confirmed_loss) == (0, standing.baseline_loss)


def test_a_trial_that_was_given_up_does_not_count():
    fake = study_that_gains(-0.3)
    fake.fail(fake.claim(parent="t0001"), FailReason.ABANDONED)
    fake.fail(fake.claim(parent="t0001"), FailReason.CRASHED)
    result = compare_pair(fake.study, fake.study)
    assert (result.trials, result.a.failed) == (9, {"crashed": 1})


def test_a_pair_is_read_at_the_trial_count_that_both_reached():
    """B's gain came after A had stopped: it does not count."""
    short, long = study_that_gains(0.0, replicates=0), FakeStudy()
    long.measure_noise()
    long.try_change(effect=+0.2)
    long.try_change(effect=-0.5)
    refuse(long, KNOWN)
    result = compare_pair(short.study, long.study)
    assert result.trials == 6
    assert result.b.leading_loss == pytest.approx(result.b.baseline_loss)
    assert (len(result.a.curve), len(result.b.curve)) == (6, 6)
    assert (result.b.calls, result.b.refused) == (0, {}), "what B spent later does not count either"


def test_studies_that_began_differently_are_not_compared():
    one, other = study_that_gains(-0.3).study, study_that_gains(-0.3, seed=1).study
    with pytest.raises(SwarmError, match="seed is 0 in one and 1 in the other"):
        compare_pair(one, other)
    other.opened = one.opened.model_copy(update={"base_tree_sha256": "another"})
    with pytest.raises(SwarmError, match="base_tree_sha256"):
        compare_pair(one, other)


def test_a_pair_without_a_baseline_result_is_no_pair():
    unmeasured = FakeStudy()
    unmeasured.baseline()
    assert compare_pair(study_that_gains(-0.3).study, unmeasured.study) is None
    with pytest.raises(SwarmError, match="nothing to compare"):
        compare(A, B, [], unmeasured.study)


def test_costs_count_every_call_and_the_unknown_is_not_zero():
    priced, unpriced, free = (study_that_gains(-0.3, replicates=0, finals=True) for _ in range(3))
    for fake in (priced, unpriced):
        spend(fake, KNOWN)
    refuse(priced, KNOWN)
    refuse(unpriced, KNOWN.model_copy(update={"usd": None}))
    for fake in (priced, unpriced, free):
        spend(fake, KNOWN) if fake is not free else fake.finish(fake.claim(parent="t0001"), 2.2)
    free.finish(free.claim(parent="t0001"), 2.2)
    first, second = compare_pair(priced.study, unpriced.study), compare_pair(priced.study, free.study)
    assert (first.a.calls, first.a.tokens, first.a.usd) == (3, 3600, pytest.approx(0.03))
    assert (first.b.calls, first.b.tokens, first.b.usd) == (3, 3600, None)
    assert (second.b.calls, second.b.tokens, second.b.usd) == (0, 0, 0.0)
    both = compare(A, B, [first, second], priced.study)
    assert both.cost_a.confirmed_gains == 2 and both.cost_a.usd_per_gain == pytest.approx(0.03)
    assert (both.cost_b.usd, both.cost_b.usd_per_gain) == (None, None)
    text = "\n".join(comparison_lines(both))
    assert "unknown" in text and "llm_failed" in text and "model calls" in text
    assert both.cost_a.device_s_per_gain == pytest.approx(both.cost_a.device_s / 2)
    alone = "\n".join(comparison_lines(compare(A, A, [compare_pair(free.study, free.study)], free.study)))
    assert "device minutes per confirmed gain" in alone
    assert "USD" not in alone and "model calls" not in alone, "nobody called a model"


def test_blocks_and_alternation_are_told_apart():
    start = FakeStudy().now
    one = study_that_gains(-0.3, start=start)
    beside = study_that_gains(-0.3, start=start + 5)
    after = study_that_gains(-0.3, start=one.now + 1)
    assert longest_block(one.study, beside.study) == 1
    assert longest_block(one.study, after.study) == 8, "sequential blocks"
    longer = study_that_gains(-0.3, start=start + 5, replicates=6)
    assert longest_block(one.study, longer.study) == 1, "what runs after the other has ended is no block"
    assert compare_pair(one.study, beside.study).side_by_side > 0.9
    assert compare_pair(one.study, after.study).side_by_side == 0.0


def test_few_pairs_claim_nothing_however_large_the_difference():
    comparison = compared(*[-0.5] * (MIN_PAIRS - 1))
    assert comparison.leading.excludes_zero and "too few for a claim" in comparison.conclusion
    assert "got further" not in "\n".join(comparison_lines(comparison))


def test_six_equal_signs_claim_a_difference_and_mixed_ones_do_not():
    better = compared(*(-0.05 - 0.01 * step for step in range(MIN_PAIRS)))
    assert better.conclusion.startswith("B (openai:m, memory off) got further than A (tpe)")
    worse = compared(*(0.05 + 0.01 * step for step in range(MIN_PAIRS)))
    assert worse.conclusion.startswith("A (tpe) got further than B")
    mixed = compared(0.1, -0.1, 0.05, -0.05, 0.02, -0.03)
    assert mixed.conclusion.startswith("No difference shown")


def test_checkpoints_compare_at_equal_counts():
    comparison = compared(0.1, 0.2)
    assert [point.trials for point in comparison.checkpoints] == [6, 7, 8], "the first five measure the noise"
    assert all(point.difference.n == 2 for point in comparison.checkpoints)


def test_the_report_has_every_pair_and_survives_a_pipe_in_a_name():
    odd = A.model_copy(update={"spec": "scripted:a|b"})
    comparison = compare(odd, B, [pair(seed=0), pair(seed=1)], FakeStudy().study)
    page = comparison_markdown(comparison)
    assert "scripted:a\\|b" in page and "says nothing about CIFAR-100" in page
    assert page.count("\n| 0 | 8 |") == page.count("\n| 1 | 8 |") == 1
    assert type(comparison).model_validate_json(comparison.model_dump_json()) == comparison


@pytest.fixture
def tiny(tmp_path: Path) -> TinyStudy:
    return make_tiny_study(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("tpe", "oracle"), "--proposer is 'oracle'"),
        (("tpe", "tpe", "--pairs", "0"), "--pairs is 0, and must lie between 1"),
        (("tpe", "tpe", "--memory-b", "own"), "shared and own memory are the same"),
        (("tpe", "tpe", "--memory-b", "none"), "--memory-b is 'none'"),
    ],
)
def test_what_makes_no_comparison_is_refused_before_anything_is_made(tiny, arguments, said):
    done = tiny.swarm("compare", *arguments, "--target", "tiny")
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert not (tiny.root / ".swarm").exists()


def test_a_dirty_target_is_refused(tiny):
    (tiny.root / "models/tiny/train.py").write_text("# edited\n")
    done = tiny.swarm("compare", "tpe", "tpe", "--target", "tiny")
    assert done.returncode == 1 and "has uncommitted changes" in done.stderr
    assert not (tiny.root / ".swarm").exists()


def studies(tiny: TinyStudy) -> list[StudyState]:
    """The latest study of each arm."""
    brains = sorted((tiny.root / ".swarm" / "compare").glob("*/*.jsonl"))
    states = [Brain(path).snapshot().latest for path in brains]
    return [state for state in states if state is not None]


def nothing_is_left(tiny: TinyStudy) -> None:
    assert tiny.processes() == []
    assert tiny.held_leases() == []
    assert len(tiny.repo.git("worktree", "list").splitlines()) == 1


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_arms_run_side_by_side_and_their_trials_come_home(tiny, tmp_path):
    script = write_script(tmp_path / "s.jsonl", {"description": "a larger step", "constants": {"MAX_LR": 0.5}})
    (tiny.root / "models/tiny/s.jsonl").symlink_to(script)  # a relative script, and a target folder that stays clean
    (tiny.root / ".git/info/exclude").write_text("s.jsonl\n")
    for name in ("swarm", "workers"):  # as in a clone of this project at another version
        tiny.repo.write(f"{name}/__init__.py", "raise SystemExit('the module of the clone')\n")
    tiny.repo.commit("modules of the same names")
    before = tiny.repo.fingerprint()
    done = tiny.swarm(
        *("compare", "scripted:models/tiny/s.jsonl", "tpe", "--target", "models/tiny", *ON_CPU),
        *("--trials", "6", "--pairs", "2", "--json"),
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert [item["seed"] for item in found["pairs"]] == [0, 1]
    for item in found["pairs"]:
        assert (item["trials"], item["longest_block"] <= 2, item["side_by_side"] > 0.5) == (6, True, True)
        assert item["a"]["baseline_loss"] == pytest.approx(item["b"]["baseline_loss"], abs=0.01), "the same seeds"
        assert item["a"]["leading_loss"] < item["a"]["baseline_loss"] - 0.5
    assert "too few for a claim" in found["conclusion"]
    assert "A " in done.stderr and "B " in done.stderr and "loss" in done.stderr
    assert "## Pairs" in (tiny.root / "report" / "compare.md").read_text()
    assert before[:4] == tiny.repo.fingerprint()[:4]
    assert not tiny.brain.exists(), "the user's own brain is not written"
    nothing_is_left(tiny)
    brain = next((tiny.root / ".swarm" / "compare").glob("*/a.jsonl"))
    shown = tiny.swarm("diff", "6", "--brain", str(brain))
    assert "+MAX_LR = 0.5" in shown.stdout, shown.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_one_interrupt_drains_both_arms_and_reports_what_there_is(tiny):
    with (tiny.ledger.parent / "compare.log").open("w") as log:
        process = subprocess.Popen(
            [SWARM, "compare", "tpe", "embedded", "--target", "tiny", "--pairs", "3", *ON_CPU],
            cwd=tiny.root,
            env=tiny.environment(),
            stdout=log,
            stderr=log,
            text=True,
        )
    with stopped_at_the_end(process):
        deadline = time.monotonic() + 400
        while not (len(studies(tiny)) == 2 and all(study.finished_trials() for study in studies(tiny))):
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        assert process.wait(300) == 0
    text = (tiny.ledger.parent / "compare.log").read_text()
    assert "Pair 2" not in text and "1 pair: too few for a claim" in text
    assert [study.closed.reason for study in studies(tiny)] == ["drained by the user"] * 2
    assert not any(study.open_trials() for study in studies(tiny))
    nothing_is_left(tiny)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_arm_that_cannot_run_ends_the_other_with_one_clear_error(tiny):
    done = tiny.swarm("compare", "tpe", "openai:m", "--target", "tiny", *ON_CPU, timeout=600)
    assert done.returncode == 1
    assert "arm B (openai:m) ended: " in done.stderr and "no key" in done.stderr
    nothing_is_left(tiny)
