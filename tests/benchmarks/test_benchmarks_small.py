"""What benchmarks/fairness.py, early_stop.py and baselines.py make of their measurements; one tiny run of each."""

import json
import math
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import baselines
import early_stop
import fairness
import small_model
from early_stop import NOISE_REPLICATES, Ending, Recording, proposed, replay
from fairness import Pair, Run, Table, shift_in_sigma

from swarm.program.constants import parse
from swarm.trial.config import WorkBudget
from swarm.verdict.early_stop import is_audited

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
FORMAT = {"bench", "ours", "baseline", "ratio", "unit", "n"}


def fair_table(solo: float, wall: float) -> Table:
    """Three seeds, 0.1 apart; beside the neighbour so many times the steps, and half of what is missing in loss."""

    def pairs(share: float) -> tuple[Pair, ...]:
        return tuple(
            Pair(
                Run(100 + seed, 6.0, 4.0 + 0.1 * seed),
                Run(round(share * (100 + seed)), 12.0, 4.0 + 0.1 * seed + 1 - share),
            )
            for seed in range(3)
        )

    return Table(pairs(solo), pairs(wall))


def test_fairness_compares_each_seed_with_itself() -> None:
    table, charges = fair_table(1.0, 0.5), [1.0, 1.02, 1.1, 0.98]
    steps, loss, windows, clock = fairness.figures(table, charges, clock_s=0.0006, budget_s=6.06)
    assert (steps["ours"], steps["baseline"], steps["n"]) == (1.0, pytest.approx(0.5, abs=0.01), 3)
    assert steps["wall_time_beside"] == 2.0
    assert (loss["ours"], loss["baseline"], loss["sigma"]) == (0.0, pytest.approx(5.0), 0.1)
    assert (windows["ours"], windows["ratio"], windows["n"]) == (1.01, 0.505, 4)
    assert clock["clock_percent"] == 1.0 and clock["ours"] == 60.0 and clock["baseline"] == 59.4
    assert all(figure.keys() >= FORMAT for figure in (steps, loss, windows, clock))


def test_unscored_pairs_say_nothing_about_the_loss() -> None:
    table = fair_table(1.0, 0.5)
    unscored = tuple(Pair(replace(pair.alone, loss=None), replace(pair.beside, loss=None)) for pair in table.solo[1:])
    assert shift_in_sigma(table.wall[:1] + unscored, table.sigma) == pytest.approx(5.0)
    assert Table(table.solo[:1] + unscored, table.solo[:1] + unscored).sigma is None
    assert shift_in_sigma(unscored, 0.1) is None and shift_in_sigma(table.wall, None) is None


def test_proposals_are_fixed_by_their_seed_and_lie_in_the_declared_spaces() -> None:
    source = early_stop.base_source()
    trials = proposed(source, 40, seed=1)
    assert trials == proposed(source, 40, seed=1) != proposed(source, 40, seed=2)
    assert trials[:8] == proposed(source, 3, seed=1), "more trials must not change the first ones: the cache holds them"
    assert [trial.changes for trial in trials[:NOISE_REPLICATES]] == [{}] * NOISE_REPLICATES
    assert len({trial.seed for trial in trials}) == len(trials)
    declared = parse(source)
    for trial in trials[NOISE_REPLICATES:]:
        assert 1 <= len(trial.changes) <= 3
        for name, value in trial.changes.items():
            space = declared[name].space
            assert space is not None and space.contains(value) and value != declared[name].value


def trained(loss: float, seed: int = 1, *, late: float = 0.0, family: str = "MAX_LR") -> Recording:
    """A training whose rungs foretell its end, up to `late`."""
    rungs = ((0.25, loss + 0.8 + late + 0.001 * (seed % 3)), (0.5, loss + 0.4 + late + 0.001 * (seed % 3)))
    return Recording({family: seed}, seed, loss, None, rungs, used=1.0, wall_s=10.0, train_s=6.0, after_s=2.0)


def floor() -> list[Recording]:
    return [replace(trained(4.0 + 0.01 * seed, seed), changes={}) for seed in range(NOISE_REPLICATES)]


def a_study(*last: Recording) -> list[Recording]:
    """Five of the baseline, three worse ones that teach, and `last`, the trials t0009 and on."""
    return [*floor(), *(trained(4.1 + 0.1 * seed, seed) for seed in range(3)), *last]


def name_with(audited: bool, trial_id: str) -> str:
    return next(name for name in map(str, range(1000)) if is_audited(name, trial_id) is audited)


def test_a_hopeless_trial_costs_what_it_used_at_the_rung() -> None:
    recordings = a_study(trained(5.5))
    replayed = replay(recordings, name_with(False, "t0009"))
    last = replayed.endings[-1]
    assert (last.pruned_at, last.beats, replayed.pruned, replayed.wrong) == (0.25, False, 1, 0)
    assert last.used == 0.25 and last.wall_s == pytest.approx(10 - 0.75 * 6 - 2 + early_stop.REACTION_S)
    assert replayed.gain == pytest.approx(9 / 8.25)
    training, whole = early_stop.figures(replayed, [replayed], budget_s=5.0)[:2]
    assert training["ratio"] == pytest.approx(9 / 8.25, abs=1e-3) and training["baseline"] == 720.0
    assert whole["ratio"] == pytest.approx(90 / (80 + last.wall_s), abs=1e-3)


def test_a_pruned_trial_that_would_have_led_is_a_false_prune() -> None:
    replayed = replay(a_study(trained(3.5, late=2.0)), name_with(False, "t0009"))
    assert (replayed.pruned, replayed.wrong) == (1, 1)
    prunes = early_stop.figures(replayed, [replayed], budget_s=5.0)[3]
    assert (prunes["bench"], prunes["ours"], prunes["n"]) == ("early_stop false prunes", 1.0, 1)


def test_an_audited_trial_runs_to_its_end_and_is_counted() -> None:
    replayed = replay(a_study(trained(3.5, late=2.0)), name_with(True, "t0009"))
    last = replayed.endings[-1]
    assert (last.pruned_at, last.marked, last.used, replayed.gain) == (None, True, 1.0, 1.0)
    audit = early_stop.figures(replayed, [replayed], budget_s=5.0)[-1]
    assert (audit["ours"], audit["n"]) == (1.0, 1)


def test_a_failed_trial_costs_its_share_either_way() -> None:
    failed = replace(trained(9.0), loss=None, reason="diverged", rungs=(), used=0.1)
    replayed = replay(a_study(failed), "any")
    assert replayed.endings[-1] == Ending(failed, None, marked=False, beats=False)
    assert replayed.gain == 1.0 and early_stop.figures(replayed, [replayed], 5.0)[0]["failed"] == 1


def test_recorded_trainings_are_read_back_and_not_done_again(tmp_path: Path) -> None:
    trials, source, cache = proposed(early_stop.base_source(), 3, 1), early_stop.base_source(), tmp_path / "cache.jsonl"
    recordings = [replace(trained(4.0, trial.seed), changes=trial.changes) for trial in trials]
    lines = [
        json.dumps(
            {"key": early_stop.key_of(early_stop.constants.assign(source, trial.changes), trial.seed, 5.0)} | vars(one)
        )
        for trial, one in zip(trials, recordings, strict=True)
    ]
    cache.write_text("\n".join(lines) + '\n{"key": "cut o')
    assert early_stop.record(trials, 5.0, cache) == recordings


def test_the_baselines_table_names_its_place_and_what_it_is_measured_against() -> None:
    runs = tuple(baselines.Run(loss, 0.3, 0.03, 500, 1600.0, "2.9") for loss in (3.0, 3.2))
    row = baselines.Row("resnext", WorkBudget("solo_seconds", 20), runs)
    place = baselines.Place("a CPU", "2.9", "standin")
    table = baselines.as_markdown([row], place)
    assert table.startswith(
        "a CPU, torch 2.9, the stand-in (procedural images, not CIFAR-100); mean and sd over 2 seeds."
    )
    assert "| resnext | 20 solo seconds | 3.1000 ± 0.1414 | 30.0 % | 0.030 M | 500 | 1600 |" in table
    [against_guessing] = baselines.figures([row], place)
    assert (against_guessing["baseline"], against_guessing["baseline_is"]) == (round(math.log(100), 4), "ln 100")
    bad = replace(row, target="efficientnet_seed", runs=tuple(replace(run, loss=4.5) for run in runs))
    assert [figure["baseline"] for figure in baselines.figures([row, bad], place)] == [4.5, 4.5]
    assert against_guessing.keys() >= FORMAT


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ("fairness.py", "--pairs", "1", "--seeds", "2", "--budget-s", "4", "--windows", "2"),
        ("early_stop.py", "--trials", "1", "--budget-s", "2"),
        ("baselines.py", "--targets", "resnext", "--seeds", "1", "--budget-s", "2", "--dataset", "standin"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_tiny_run_prints_its_figures(arguments: tuple[str, ...]) -> None:
    command = [sys.executable, str(BENCHMARKS / arguments[0]), *arguments[1:], "--json"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    lines = [json.loads(line) for line in shown]
    assert lines and all(line.keys() >= FORMAT for line in lines)


def test_a_noise_floor_that_fails_is_no_measurement() -> None:
    failed = replace(trained(4.0), changes={}, loss=None, reason="timeout")
    with pytest.raises(RuntimeError, match=r"unchanged program.*timeout"):
        early_stop.refuse_broken_floor(failed)
    early_stop.refuse_broken_floor(replace(failed, changes={"WIDTH": 128}))


def test_each_refused_answer_of_a_model_counts_once_with_its_reason() -> None:
    refusals = (
        (
            "llm_failed",
            "no answer of 2 could be applied; answers: (1) the answer is empty. (2) the code has 12 lines.",
        ),
        ("llm_failed", "http://127.0.0.1:1: did not answer within 120 s; answers: (1) the answer is empty."),
        ("llm_failed", "http://127.0.0.1:1: did not answer within 120 s"),
        ("no_citation", "it cites nothing, and related trials exist"),
    )
    reasons = small_model.Outcome(None, Counter(), refusals).reasons  # type: ignore[arg-type]
    assert Counter(reasons) == {
        "the answer is empty.": 2,
        "the code has N lines.": 1,
        "it cites nothing, and related trials exist": 1,
    }
