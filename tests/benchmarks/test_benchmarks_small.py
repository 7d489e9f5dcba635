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
import record_curves
import small_model
from early_stop import Curve
from fairness import Pair, Run, Table, shift_in_sigma

from swarm.trial.config import WorkBudget

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


def curve(name: str, loss: float, *, parent: str | None = "start", kind: str = "edit", late: float = 0.0) -> Curve:
    """A training that falls by 0.4 from its half on, and by `late` more."""
    rungs = ((0.25, loss + 0.8 + late), (0.5, loss + 0.4 + late), (0.75, loss + 0.2 + late / 2))
    return Curve(name, parent, kind, "optimiser", 1, loss, None, rungs)


def a_set(*changes: Curve) -> list[Curve]:
    """Six runs of the baseline, three of a program that others build on, and `changes`."""
    base = [curve("start", 4.0 + 0.01 * seed, parent=None, kind="base") for seed in range(6)]
    better = [curve("better", 3.0 + 0.01 * seed, kind="base") for seed in range(3)]
    return [*base, *better, *changes]


def test_an_order_has_each_change_after_its_program_and_seeds_together() -> None:
    curves = a_set(curve("better + a", 2.9, parent="better"), curve("start + a", 4.1))
    orders = [early_stop.in_order(curves, seed) for seed in range(20)]
    assert orders[0] == early_stop.in_order(curves, 0) and len({tuple(order) for order in orders}) > 5
    for order in orders:
        names = [one.name for one in order]
        assert names[:5] == ["start"] * 5 and len(order) == 10
        first = names.index("better")
        assert names[first : first + 3] == ["better"] * 3 and names.index("better + a") > first + 2


def tallied(*changes: Curve, rule: int = 0) -> early_stop.Tally:
    return early_stop.tally(early_stop.RULES[rule], a_set(*changes), 30)


def test_a_hopeless_trial_costs_what_it_used_at_the_rung() -> None:
    found = tallied(curve("start + bad", 9.0))
    assert 0 < found.ended < 30 and not found.harmed  # some of the thirty are audited
    assert set(found.gains) == {1.0, 9 / 8.5}


def test_an_ended_trial_that_would_have_led_is_harm() -> None:
    found = tallied(curve("better + slow", 2.5, parent="better", late=5.0))
    assert found.harmed == {"better + slow"} and found.lost == found.ended > 0
    told = early_stop.figure(early_stop.RULES[0], found, 30)
    assert told["names_lost"] == ["better + slow"] and told["programs_lost"] == 1
    assert told["upper"] == round(early_stop.upper_bound(1, len(found.led)), 4)
    assert told.keys() >= FORMAT


def test_a_first_night_has_to_show_first_that_it_harms_nobody() -> None:
    assert tallied(curve("start + bad", 9.0), rule=1).ended == 0


def test_a_failed_trial_is_no_chance() -> None:
    failed = curve("start + crash", 1.0)._replace(loss=None, reason="diverged", rungs=())
    assert tallied(failed).led == tallied().led == {"better"}


def test_recorded_trainings_are_read_back(tmp_path: Path) -> None:
    wanted, file = a_set(curve("start + a", 4.1)), tmp_path / "curves.jsonl"
    lines = [json.dumps({**one._asdict(), "key": "k", "images": 1, "cpu_s": 2.0}) for one in wanted]
    file.write_text("\n".join(lines) + '\n{"key": "cut o')
    assert early_stop.read(file) == wanted
    assert len(record_curves.rows(file)) == len(wanted)


def test_the_recorded_set_is_what_its_script_makes() -> None:
    """Of each kind, with their rungs."""
    curves = early_stop.read(early_stop.FILE)
    jobs = {(job.name, job.parent, job.kind, job.family, job.seed) for job in record_curves.jobs()}
    assert {one[:5] for one in curves} <= jobs
    kinds = Counter(one.kind for one in curves)
    assert kinds.keys() == {"base", "good", "edit", "constants"}
    assert kinds["base"] == sum(seeds for _, _, seeds in record_curves.LINE)
    assert all(one.loss is None or [at for at, _ in one.rungs] == list(record_curves.RUNGS) for one in curves)


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
        ("early_stop.py", "--orders", "2"),
        ("baselines.py", "--targets", "resnext", "--seeds", "1", "--budget-s", "2", "--dataset", "standin"),
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_tiny_run_prints_its_figures(arguments: tuple[str, ...]) -> None:
    command = [sys.executable, str(BENCHMARKS / arguments[0]), *arguments[1:], "--json"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    lines = [json.loads(line) for line in shown]
    assert lines and all(line.keys() >= FORMAT for line in lines)


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
