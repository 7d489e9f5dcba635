"""Importance, parallel coordinates, memory and cost: what they show, with two trials and with two thousand."""

import random
from statistics import median

import pytest
from factories.studies import FakeStudy, demo_study

from swarm.records import FailReason, Usage
from swarm.report.figures import DRAWINGS, draw
from swarm.report.figures.effects import constant_values, effects, median_ranks
from swarm.report.figures.lineage import draw_lineage, shown_diff
from swarm.report.figures.memory import memory_of
from swarm.report.figures.parallel import MOST_LINES, shown_programs
from swarm.report.figures.spending import bought, bought_by, busy_hours, calls_of, hours_of
from swarm.verdict import study_noise


def measured(**options: object) -> FakeStudy:
    fake = FakeStudy(**options)  # type: ignore[arg-type]
    for loss in (2.20, 2.21, 2.19, 2.20, 2.20):
        fake.finish(fake.baseline(), loss)
    return fake


def named(name: str, fake: FakeStudy) -> dict[str, dict[str, object]]:
    return {str(trace["name"]): trace for trace in draw(name, fake.study).traces if "name" in trace}


def test_the_interval_of_a_median_holds_it_as_often_as_it_says() -> None:
    generator = random.Random(7)
    for count in (6, 17, 40, 400):
        ranks = median_ranks(count)
        assert ranks is not None
        held = 0
        for _ in range(600):
            draws = sorted(generator.expovariate(1.0) for _ in range(count))
            held += draws[ranks[0] - 1] <= 0.693147 <= draws[ranks[1] - 1]
        assert held / 600 >= 0.935, count
    assert median_ranks(5) is None and median_ranks(6) == (1, 6)


def test_an_effect_is_the_difference_to_the_parent_and_not_to_the_baseline() -> None:
    fake = measured()
    first = fake.try_change(loss=2.1, parent="t0001", constants={"LR": (0.1, 0.2)})
    fake.try_change(loss=2.05, parent=first, constants={"WIDTH": (32, 48)})
    fake.fail(fake.claim(parent=first, constants={"WIDTH": (32, 4000)}))
    found = {effect.constant: effect for effect in effects(fake.study, 0.01)}
    assert found["LR"].typical == pytest.approx(0.1) and found["WIDTH"].typical == pytest.approx(0.05)
    assert found["WIDTH"].best.after == 48 and not found["WIDTH"].sure
    assert [effect.constant for effect in effects(fake.study, None)] == ["LR", "WIDTH"]
    assert effects(fake.study, None)[0].noise is None


def test_edits_that_do_nothing_look_like_noise_alone() -> None:
    fake = FakeStudy(seed=11)
    fake.measure_noise(10)
    for value in range(200):
        fake.finish(fake.claim(parent="t0001", constants={"LR": (0, value)}), conclude_now=False)
    noise = study_noise(fake.study)
    assert noise is not None
    (effect,) = effects(fake.study, noise.sigma)
    assert effect.noise is not None and effect.low < 1.3 * effect.noise and effect.high > 0.75 * effect.noise
    assert effect.typical == median(abs(edit.difference) for edit in effect.edits)


def test_values_are_inherited_and_what_a_change_took_away_is_missing() -> None:
    fake = measured()
    first = fake.try_change(loss=2.1, parent="t0001", constants={"LR": (0.1, 0.2)})
    second = fake.try_change(loss=2.0, parent=first, constants={"LR": (0.2, None), "ACT": ("relu", "silu")})
    values = constant_values(fake.study)
    assert values["t0001"] == {"LR": 0.1, "ACT": "relu"}
    assert values[first] == {"LR": 0.2, "ACT": "relu"} and values[second] == {"ACT": "silu"}


def test_parallel_lines_are_few_and_the_prominent_ones_are_there() -> None:
    fake = measured()
    best = fake.try_change(loss=2.0, parent="t0001", constants={"LR": (1, 50)})
    for value in range(300):
        fake.finish(fake.claim(parent="t0001", constants={"LR": (1, value)}), 2.3, conclude_now=False)
    shown = [program.name for program in shown_programs(fake.study)]
    assert len(shown) == MOST_LINES + 2 and {"t0001", best} <= set(shown)
    heights = [y for trace in draw("parallel", fake.study).traces for y in trace["y"] if y is not None]  # type: ignore[union-attr,attr-defined]
    assert min(heights) >= 0.0 and max(heights) <= 1.0


def test_memory_tells_what_used_more_than_it_had_reserved() -> None:
    fake = measured()
    fake.finish(fake.claim(parent="t0001"), 2.2, peak_mib=950)
    fake.fail(fake.claim(parent="t0001"), FailReason.OUT_OF_MEMORY)
    traces = named("memory", fake)
    assert traces["measured above the reservation"]["y"] == [950]
    assert traces["ran out of memory"]["x"] == [7]
    assert len(traces["measured"]["y"]) == 5  # type: ignore[arg-type]
    assert "1 trials used more" in str(draw("memory", fake.study).layout["title"])
    assert [one.predicted for one in memory_of(fake.study)] == [None] * 7


def test_one_enormous_request_does_not_flatten_the_memory_axis() -> None:
    fake = measured()
    fake.finish(fake.claim(parent="t0001"), 2.2, peak_mib=40_000)
    axis = draw("memory", fake.study).layout["yaxis"]
    assert isinstance(axis, dict) and axis["range"][1] < 2000


def test_every_hour_is_bought_once_and_side_by_side_is_busy_once() -> None:
    fake = demo_study()
    study = fake.study
    groups = bought(study)
    assert sum(group.trials for group in groups) == len(study.finished_trials())
    assert sum(group.hours for group in groups) == pytest.approx(sum(map(hours_of, study.finished_trials())))
    assert 0 < busy_hours(study) < sum(group.hours for group in groups)
    assert bought_by(study, study.trials["t0001"]) == "noise floor"


def test_the_price_is_in_tokens_as_soon_as_one_price_is_unknown() -> None:
    fake = measured()
    fake.try_change(parent="t0001", arm="m", usage=Usage(model="m", input_tokens=5, output_tokens=5, usd=0.5))
    assert "USD" in str(draw("cost", fake.study).layout["annotations"])
    fake.try_change(parent="t0001", arm="m", usage=Usage(model="m", input_tokens=50, output_tokens=5))
    assert "tokens" in str(draw("cost", fake.study).layout["annotations"])
    assert named("cost", fake)["m"]["y"] == [10.0, 65.0]
    assert [usage.usd for _, _, usage in calls_of(fake.study)] == [0.5, None]


def test_the_lineage_shows_the_first_lines_of_a_diff_as_text() -> None:
    fake = measured()
    name = fake.try_change(loss=2.0, parent="t0001")
    diff = "--- a/t.py\n+++ b/t.py\n@@ -1 +1 @@\n-x = 1\n+x = '<script>'\n" + "".join(f"+{n}\n" for n in range(30))
    text = str(draw_lineage(fake.study, {name: diff}).traces)
    assert "-x = 1" in text and "&lt;script&gt;" in text and "and 22 more lines" in text
    assert "<script>" not in text and shown_diff(diff).count("<br>") == 10


@pytest.mark.parametrize("name", DRAWINGS)
def test_two_trials_are_enough_to_draw(name: str) -> None:
    fake = FakeStudy()
    fake.finish(fake.baseline(), 2.2, curve=((0.5, 3.0), (1.0, 2.0)))
    fake.finish(fake.claim(parent="t0001", constants={"LR": (1, 2)}), 2.1)
    assert draw(name, fake.study).traces


def test_an_effect_far_off_is_a_triangle_at_the_end_of_the_axis() -> None:
    fake = measured()
    for name, loss in (("A", 2.19), ("B", 2.18), ("C", 2.21), ("D", 9.0)):
        fake.try_change(loss=loss, parent="t0001", constants={name: (1, 2)})
    drawing = draw("importance", fake.study)
    axis = drawing.layout["xaxis"]
    assert isinstance(axis, dict) and axis["range"][1] < 0.2
    marks = named("importance", fake)["median and range, fewer than six edits"]
    assert marks["marker"]["symbol"][-1] == "triangle-right-open" and marks["x"][-1] < axis["range"][1]  # type: ignore[index]
    assert "median change 6.8000" in marks["hovertext"][-1]  # type: ignore[index]
