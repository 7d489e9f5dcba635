"""What the search benchmarks compare, and that they run the workers' own code: memory modes, gate, verdicts."""

import json
import random
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from comparison import comparisons, difference_interval, permutation_p, verdict_of
from plain import plain_tpe, random_search, random_setting
from replay_study import NOISE_REPLICATES, ReplayStudy
from replay_table import load_table

from swarm.gate import check_base
from swarm.program.constants import assign, parse
from swarm.program.families import family_of
from swarm.records import FailReason, Steer, TrialState
from swarm.study.settings import Memory
from workers.proposers.spaces import searched, values_of

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
FORMAT = {"bench", "ours", "baseline", "ratio", "unit", "n"}
ARMS = ("model-based", "climb", "recombine")


def start(seed: int = 0) -> str:
    return load_table().start(random.Random(seed))


@cache
def studied(memory: Memory) -> ReplayStudy:
    """Of twenty trials, the same for all tests."""
    replayed = ReplayStudy(start(), ARMS, 0, load_table().run, memory=memory)
    replayed.run(until=20)
    return replayed


def proposed(replayed: ReplayStudy) -> list:
    return [trial.claim for trial in replayed.study.trials.values() if trial.claim.arm in ARMS]


def test_differences_are_taken_seed_by_seed() -> None:
    theirs = [float(seed) for seed in range(20)]
    ours = [value - 0.1 - 0.01 * (seed % 2) for seed, value in enumerate(theirs)]
    low, high = difference_interval(ours, theirs)
    assert -0.11 <= low < high <= -0.1, "the spread between seeds must not widen a paired interval"
    assert permutation_p(ours, theirs) < 0.001 and permutation_p(theirs, ours) > 0.99
    assert permutation_p(theirs, ours, two_sided=True) < 0.001
    assert permutation_p(ours, ours, two_sided=True) == 1.0


def test_an_interval_that_holds_0_is_called_no_difference() -> None:
    much = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    less = [value - 0.5 for value in much]
    assert verdict_of(less, much) == "better" and verdict_of(much, less) == "worse"
    assert verdict_of(much, much[::-1]).endswith("the interval holds 0")
    assert "too few seeds" in verdict_of(less[:3], much[:3])


@pytest.mark.parametrize("policy", [random_search, plain_tpe])
def test_a_plain_policy_is_fixed_by_its_seed_and_its_first_trials_by_nothing_later(policy) -> None:
    seen: list[tuple[str, int]] = []

    def run(program: str, seed: int) -> float | FailReason:
        seen.append((program, seed))
        return FailReason.DIVERGED if len(seen) == 3 else load_table().run(program, seed)

    short = policy(start(), 1, run, (6,))
    first, seen = seen, []
    longer = policy(start(), 1, run, (6, 12))
    assert longer[0] == short[0] and len(longer) == 2
    assert seen[: len(first)] == first and len(seen) == 13, "the start and twelve trials"
    assert seen[2][0] not in longer, "what failed is not handed over"
    spaces = searched(start())
    assert all(spaces[name].contains(values_of(program)[name]) for program, _ in seen for name in spaces)


def test_random_search_repeats_no_program() -> None:
    programs: list[str] = []
    random_search(start(), 3, lambda program, _: programs.append(program) or 1.0, (40,))
    assert len(set(programs)) == len(programs) == 41


def test_a_replayed_study_spends_the_trials_that_it_was_given() -> None:
    study = studied("shared").study
    assert len(study.finished_trials()) == NOISE_REPLICATES + 20
    assert len(study.baseline.costs) >= NOISE_REPLICATES and study.verdicts
    assert {claim.agent_id for claim in proposed(studied("shared"))} == {"worker_1", "worker_2"}


@pytest.mark.parametrize("memory", ["shared", "off"])
def test_the_gate_lets_no_program_of_a_replayed_study_run_twice(memory: Memory) -> None:
    claims = proposed(studied(memory))
    assert len({claim.tree_sha256 for claim in claims}) == len(claims)


def test_the_memory_mode_reaches_the_proposers() -> None:
    """Who is told nothing can cite nothing; who is told its own attempts cites no other worker's."""
    assert not any(claim.cites for claim in proposed(studied("off")))
    assert any(claim.cites for claim in proposed(studied("shared")))
    own = studied("own")
    authors = [
        (claim.agent_id, own.study.trials[cited].claim.agent_id) for claim in proposed(own) for cited in claim.cites
    ]
    assert authors and all(reader == author for reader, author in authors)


def test_a_failed_training_is_a_failed_trial() -> None:
    def run(program: str, seed: int) -> float | FailReason:
        return FailReason.DIVERGED if values_of(program) != values_of(start()) else load_table().run(program, seed)

    replayed = ReplayStudy(start(), ARMS, 0, run)
    assert replayed.run(6) == start(), "nothing ever beat the start"
    failed = [trial for trial in replayed.study.finished_trials() if trial.state is TrialState.FAILED]
    assert failed and {trial.reason for trial in failed} == {FailReason.DIVERGED}


def test_a_claim_says_which_trials_it_combines_and_none_else_does() -> None:
    replayed = ReplayStudy(start(), ("climb", "recombine"), 0, load_table().run)
    replayed.run(until=20)
    claims = proposed(replayed)
    combining = [claim for claim in claims if claim.operator == "recombine"]
    assert combining and all(len(claim.merged) == 2 and {*claim.merged} <= {*claim.cites} for claim in combining)
    assert not any(claim.merged for claim in claims if claim not in combining)


def test_a_setting_makes_no_program_longer() -> None:
    """The baseline's own length is in its record, or every program would be longer than nothing."""
    study = studied("shared").study
    lines = {trial.claim.source_lines for trial in study.trials.values()}
    assert lines == {len(start().splitlines())}
    assert not [verdict.why for verdict in study.verdicts if "longer" in verdict.why or "shorter" in verdict.why]


def test_a_vetoed_family_is_left_alone_until_the_veto_is_lifted() -> None:
    replayed = ReplayStudy(start(), ARMS, 3, load_table().run)
    replayed.run(until=10)
    before = len(proposed(replayed))
    for family in ("optimiser", "architecture"):
        replayed._brain.append(Steer(action="veto", subject=family))
    replayed.run(until=24)
    vetoed = proposed(replayed)[before:]
    assert len(vetoed) >= 6
    assert not {family for claim in vetoed for family in map(family_of, claim.constants_changed)} & {
        *replayed.study.vetoes
    }
    replayed._brain.append(Steer(action="allow", subject="optimiser"))
    assert {*replayed.study.vetoes} == {"architecture"}
    replayed.run(until=40)
    lifted = [name for claim in proposed(replayed)[before + len(vetoed) :] for name in claim.constants_changed]
    assert "RATE_STEP" in lifted and "WIDTH_STEP" not in lifted


def test_noise_is_of_the_setting_and_its_training_seed() -> None:
    table, program = load_table(), start()
    assert table.run(program, 1) == table.run(program, 1) != table.run(program, 2)
    assert abs(table.run(program, 1) - table.loss(program)) < 6 * table.sigma


def test_the_programs_of_both_benchmarks_keep_the_contract() -> None:
    import search_real  # here as below: it takes seconds, and each process that runs tests imports this module

    assert check_base(load_table().source) is None
    for target in search_real.SHAPES:
        program = search_real.base_source(target)
        assert check_base(program) is None
        constants = [constant for constant in parse(program).values() if constant.space is not None]
        assert len(constants) > 10 and all(one.space.contains(one.value) for one in constants if one.space)


def test_a_larger_network_gets_fewer_images() -> None:
    import standin_training
    from torch import nn

    def network(width: int):
        return lambda: nn.Sequential(nn.Conv2d(3, width, 3, 2), nn.BatchNorm2d(width), nn.Flatten())

    small, large = (standin_training.reckoned_s(network(width)) for width in (8, 32))
    assert 3.9 < large / small < 4.1


def test_no_training_is_done_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import standin_training
    from standin_training import Training, Trainings

    done: list[int] = []

    def fork(_training) -> Training:
        done.append(1)
        return Training(1.0 + len(done), None, 100)

    monkeypatch.setattr(standin_training, "in_a_fork", fork)
    cache = tmp_path / "cache.jsonl"
    first, other = Trainings(cache, 1.0), Trainings(cache, 1.0)
    assert first.run("a", 1) == first.run("a", 1) == other.run("a", 1) == Training(2.0, None, 100)
    assert len({first.run("a", 2).loss, first.run("a", 1, "final").loss, Trainings(cache, 2.0).run("a", 1).loss}) == 3
    cache.write_text(cache.read_text() + '{"key": "cut o')
    assert Trainings(cache, 1.0).run("a", 1).loss == 2.0
    with pytest.raises(ValueError, match="middle of a line"):
        Trainings(cache, 1.0).run("b", 1)


def test_comparisons_pair_the_seeds_that_both_sides_have() -> None:
    curves = {
        ("t", "ours", 1): {20: 1.0, 60: 0.5},
        ("t", "ours", 2): {20: 1.2, 60: 0.6},
        ("t", "ours", 3): {20: 9.0},
        ("t", "theirs", 1): {20: 1.5, 60: 1.0},
        ("t", "theirs", 2): {20: 1.5, 60: 1.3},
        ("t", "theirs", 4): {20: 0.0, 60: 0.0},
    }
    lines = comparisons(curves, ["t", "empty"], [("ours", "theirs")], (20, 60))
    assert [(line["target"], line["against"], line["trials"], line["n"]) for line in lines] == [
        ("t", "theirs", 20, 2),
        ("t", "theirs", 60, 2),
    ]
    assert [line["difference"] for line in lines] == [-0.4, -0.6]
    assert lines[1]["interval"] == [-0.7, -0.5]


def test_a_recorded_study_is_printed_and_not_run_again(tmp_path: Path) -> None:
    import search_real

    record = tmp_path / "record.jsonl"
    first = {"target": "resnext", "policy": "tpe", "seed": 200, "losses": {"10": 3.0, "60": 2.0}}
    record.write_text(f"{json.dumps(first)}\n{json.dumps({**first, 'losses': {'60': 1.0}})}\n")
    assert search_real.recorded(record) == {("resnext", "tpe", 200): {10: 3.0, 60: 2.0}}
    assert search_real.recorded(tmp_path / "none") == {}
    assert search_real.next_seed(211, range(200, 212)) == 200


def test_a_surface_answers_for_every_program_of_its_space(tmp_path: Path) -> None:
    """Of a small table, since the whole one takes seconds to grow."""
    from recorded_surface import FILE, NOISE, Surface

    head, *rows = FILE.read_text().splitlines()
    table = tmp_path / "table.jsonl"
    table.write_text("\n".join([head, *rows[::20]]))
    surface = Surface(table)
    assert check_base(surface.source) is None
    other = random_setting(searched(surface.source), random.Random(1))
    program = assign(surface.source, other)
    assert surface.loss(program) == Surface(table).loss(program) != surface.loss(surface.source)
    assert surface.run(program, 1) == surface.run(program, 1)
    assert abs(surface.run(surface.source, 1) - surface.loss(surface.source)) < 5 * NOISE
    assert surface.run(surface.source, 1) != surface.run(surface.source, 2)


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [("search.py", "--seeds", "1"), ("memory.py", "--seeds", "1")])
def test_a_tiny_run_prints_its_figures(arguments: tuple[str, ...]) -> None:
    command = [sys.executable, str(BENCHMARKS / arguments[0]), *arguments[1:], "--json"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert shown and all(json.loads(line).keys() >= FORMAT for line in shown)


REAL = """
import sys
sys.path.insert(0, {benchmarks!r})
from pathlib import Path
import search_real, standin_training
from standin_training import Trainings
from swarm.program.constants import assign
base = search_real.base_source()
programs = {{
    "again": base,
    "same": base + "# a comment",
    "other": assign(base, {{"MAX_LR": 0.5}}),
    "too large": assign(base, {{"WIDTH": 48, "BLOCKS": 3, "BATCH_SIZE": 256}}),
    "wild": assign(base, {{"MAX_LR": 1e9}}),
    "broken": base.replace("finish(model)", "pass"),
}}
for name, program in programs.items():
    training = Trainings(Path({cache!r}), 0.15).run(program, 1)
    print(name, training.loss, training.reason, sep=",")
"""


@pytest.mark.slow
def test_a_real_training_is_fixed_by_program_and_seed(tmp_path: Path) -> None:
    script = REAL.format(benchmarks=str(BENCHMARKS), cache=str(tmp_path / "cache.jsonl"))
    shown = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    results = {line.split(",")[0]: tuple(line.split(",")[1:]) for line in shown.splitlines()}
    assert results["again"] == results["same"] != results["other"]
    assert results["again"][1] == "None"
    assert {name: results[name] for name in ("too large", "wild", "broken")} == {
        "too large": ("None", "timeout"),
        "wild": ("None", "diverged"),
        "broken": ("None", "crashed"),
    }
