import dataclasses
import json
import random
import time

import plotly.graph_objects as go
import pytest
from factories.studies import FakeStudy, demo_study

from swarm.report.figures import (
    DRAWINGS,
    FIGURES,
    constants,
    draw,
    draw_history,
    draw_timeline,
    history,
    lineage,
    timeline,
)
from swarm.report.figures.constants import value_of
from swarm.report.figures.drawing import Theme
from swarm.report.figures.pareto import front
from swarm.report.figures.style import BLUE, INK, LOOKS, focus
from swarm.report.figures.timeline import PARALLEL, parallel_spans
from swarm.study.state import StudyState, Trial
from swarm.study.trajectory import incumbent_before, trajectory
from swarm.target.objective import Objective


@pytest.fixture(scope="module")
def demo() -> FakeStudy:
    return demo_study()


def traces(figure: go.Figure) -> dict[str, go.Scatter]:
    return {trace.name: trace for trace in figure.data}


def text_of(figure: go.Figure) -> str:
    return str(figure.to_dict())  # to_json would escape "<" and hide what is looked for


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_draws_a_study_says_what_it_ran_on_and_keeps_the_zoom(name: str, demo: FakeStudy) -> None:
    figure = FIGURES[name](demo.study)
    assert figure.data
    assert "Stand-in data, no claim about CIFAR-100" in figure.layout.title.subtitle.text
    assert figure.layout.uirevision == demo.study.study_id
    assert figure.layout.title.text


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_says_what_is_missing_before_there_is_anything(name: str) -> None:
    assert "No study yet" in FIGURES[name](None).layout.annotations[0].text
    empty = FIGURES[name](FakeStudy().study)
    assert "yet" in empty.layout.annotations[0].text and not empty.data


@pytest.mark.parametrize("name", FIGURES)
def test_a_description_cannot_put_markup_into_a_figure(name: str) -> None:
    fake = FakeStudy()
    fake.measure_noise()
    fake.try_change(loss=2.0, description="<a href='x'>zero & done</a>", constants={"LR": (1, 2)})
    assert "<a href" not in text_of(FIGURES[name](fake.study))


def test_real_data_is_not_marked_red() -> None:
    fake = FakeStudy(data="cifar100")
    fake.measure_noise()
    assert "Stand-in" not in text_of(history(fake.study))


def test_history_marks_each_trial_once_with_its_outcome(demo: FakeStudy) -> None:
    named = traces(history(demo.study))
    shown = sum(len(named[word].x) for word in LOOKS)
    assert shown == len(demo.study.finished_trials())
    assert len(named["failed"].x) == sum(trial.reason is not None for trial in demo.study.trials.values())
    assert set(named["failed"].marker.symbol) == {"x"}
    assert {"worker_1", "worker_2"} <= named.keys()


def test_history_keeps_its_number_of_traces_while_the_study_goes_on() -> None:
    early = FakeStudy(seed=3)
    early.measure_noise()
    later = FakeStudy(seed=3)
    later.measure_noise()
    later.fail(later.claim(parent="t0001"))
    later.try_change(loss=2.0)
    assert len(history(early.study).data) == len(history(later.study).data)


def test_the_step_line_is_the_incumbents_mean_and_rises_when_luck_goes() -> None:
    fake = FakeStudy(sigma=0.01)
    for loss in (2.20, 2.21, 2.19, 2.20, 2.20):
        fake.finish(fake.baseline(), loss)
    lucky = fake.try_change(loss=2.17)
    assert fake.study.incumbent is not None and fake.study.incumbent.name == lucky
    fake.replicate(lucky, 2.185)
    line = traces(history(fake.study))["incumbent's mean"]
    assert line.y[4] == pytest.approx(2.20)
    assert line.y[5] == pytest.approx(2.17)
    assert line.y[6] == pytest.approx(2.1775)
    before = incumbent_before(fake.study, fake.study.trials[lucky].finished.seq)  # type: ignore[union-attr]
    assert before is not None and before.program == "t0001" and before.runs == 5


def test_the_trajectory_ends_at_the_incumbent_of_the_state(demo: FakeStudy) -> None:
    last, incumbent = trajectory(demo.study)[-1], demo.study.incumbent
    assert incumbent is not None
    assert (last.program, last.mean) == (incumbent.name, pytest.approx(incumbent.mean))


def test_an_outlier_stays_in_sight_without_flattening_the_rest() -> None:
    fake = FakeStudy(seed=2)
    fake.measure_noise()
    for _ in range(6):
        fake.try_change()
    bad = fake.try_change(loss=9.0)
    figure = history(fake.study)
    low, high = figure.layout.yaxis.range
    assert high < 3
    point = next(i for i, text in enumerate(traces(figure)["discarded"].hovertext) if bad in text)
    assert low < traces(figure)["discarded"].y[point] < high
    assert "validation loss 9.0000" in traces(figure)["discarded"].hovertext[point]


def test_outliers_make_no_room_for_themselves() -> None:
    values = [2.0, 2.01, 2.02, 2.03, 2.04, 2.05, 2.06, 9.0]
    low, high = focus(Objective(), values)
    assert low < 2.0 and 2.06 < high < 2.08
    assert focus(Objective(direction="maximize"), [-value for value in values]) == pytest.approx((-high, -low))


def test_the_best_single_run_never_rises_and_is_no_incumbent() -> None:
    fake = FakeStudy(sigma=0.01)
    for loss in (2.20, 2.21, 2.19):
        fake.finish(fake.baseline(), loss)
    fake.fail(fake.claim(parent="t0001"))
    line = traces(history(fake.study))["best single run so far"]
    assert list(line.x) == [1, 2, 3] and list(line.y) == [2.20, 2.20, 2.19]


def many(trials: int) -> FakeStudy:
    """Half of them a millionth of a second apart, as on a fast device, with failures and outliers between."""
    fake = FakeStudy(seed=5)
    fake.measure_noise()
    generator = random.Random(5)
    while len(fake.study.trials) < trials:
        trial = fake.claim(
            parent="t0001", effect=generator.gauss(0.01, 0.03), agent_id=f"worker_{len(fake.records) % 2}"
        )
        if generator.random() < 0.05:
            fake.fail(trial)
        else:
            fake.finish(trial, 9.0 if generator.random() < 0.02 else None, conclude_now=False)
    return fake


def test_two_thousand_trials_are_drawn_in_a_fifth_of_a_second_and_stay_readable() -> None:
    study = many(2000).study
    for name in DRAWINGS:
        spent = []
        for _ in range(3):
            began = time.process_time()
            text = draw(name, study).to_json(Theme.DARK)
            spent.append(time.process_time() - began)
        assert min(spent) < 0.2, f"{name}: {min(spent):.3f} s"
        assert len(text) < 2_000_000
    drawn = draw_history(study)
    sizes = [size for trace in drawn.traces[4:14] for size in trace["marker"]["size"]]  # type: ignore[index]
    assert max(sizes) < 6, "marks shrink"
    low, high = drawn.layout["yaxis"]["range"]  # type: ignore[index]
    assert 1.5 < low < high < 4, "outliers do not set the axis"
    bars = sum(len(trace["x"]) for trace in draw_timeline(study).traces)  # type: ignore[arg-type]
    assert bars < 6000


def test_the_dark_look_changes_what_would_not_be_seen_and_nothing_else(demo: FakeStudy) -> None:
    light, dark = (json.loads(draw_history(demo.study).to_json(theme)) for theme in Theme)
    named = {trace["name"]: trace for trace in dark["data"]}
    assert named["baseline"]["marker"]["color"] != INK and named["leading"]["marker"]["color"] == BLUE
    for a, b in zip(light["data"], dark["data"], strict=True):
        assert (a["x"], a["y"], a.get("hovertext")) == (b["x"], b["y"], b.get("hovertext"))
    assert light["title"] == "Result of each trial" and "<" not in light["note"]
    assert light["layout"]["paper_bgcolor"] == dark["layout"]["paper_bgcolor"] == "rgba(0,0,0,0)"


def contrast(one: str, other: str) -> float:
    """WCAG 2.2: of two colours such as #0072B2."""
    lights = []
    for colour in (one, other):
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
        lights.append(0.2126 * red + 0.7152 * green + 0.0722 * blue)
    return (max(lights) + 0.05) / (min(lights) + 0.05)


@pytest.mark.parametrize(("theme", "ground"), [(Theme.LIGHT, "#FFFFFF"), (Theme.DARK, "#15181B")])
def test_every_standing_is_seen_on_both_grounds(demo: FakeStudy, theme: Theme, ground: str) -> None:
    data = json.loads(draw_history(demo.study).to_json(theme))["data"]
    colours = {trace["marker"]["color"] for trace in data if "marker" in trace}
    assert {colour: round(contrast(colour, ground), 2) for colour in colours if contrast(colour, ground) < 2.0} == {}


def test_curves_of_a_long_study_are_the_prominent_and_the_newest() -> None:
    fake = FakeStudy()
    fake.measure_noise()
    for _ in range(80):
        fake.finish(fake.claim(parent="t0001"), 2.5, curve=[(0.5, 2.0), (1.0, 1.0)])
    figure = FIGURES["curves"](fake.study)
    assert len(figure.data) == 60 and "60 of 80" in figure.layout.title.subtitle.text


def test_the_timeline_shows_which_time_was_shared(demo: FakeStudy) -> None:
    named = traces(timeline(demo.study))
    assert len(named[PARALLEL].x) > 10
    assert set(named["training"].y) == {"worker_1", "worker_2"}


def test_one_worker_after_the_other_shares_nothing() -> None:
    fake = FakeStudy()
    fake.measure_noise(4)
    assert parallel_spans(list(fake.study.trials.values()), fake.now) == []
    assert "0 pairs of trials overlapped" in timeline(fake.study).layout.title.subtitle.text


def test_shared_time_agrees_with_a_count_by_the_second() -> None:
    generator = random.Random(4)
    fake = FakeStudy()
    trials: list[Trial] = []
    for _ in range(12):
        trial = fake.study.trials[fake.claim()]
        fake.start(trial.trial_id)
        start, length = generator.randrange(200), generator.randrange(1, 40)
        fake.finish(trial.trial_id, 2.0)
        assert trial.started is not None and trial.finished is not None
        trials.append(
            dataclasses.replace(
                trial,
                started=trial.started.model_copy(update={"at": float(start)}),
                finished=trial.finished.model_copy(update={"at": float(start + length)}),
            )
        )
    runs = [trial.seconds for trial in trials if trial.seconds is not None]
    counted = sum(sum(start <= second < end for start, end in runs) >= 2 for second in range(300))
    assert sum(span.end - span.start for span in parallel_spans(trials, 0.0)) == counted


def test_lineage_draws_the_way_to_the_incumbent(demo: FakeStudy) -> None:
    figure = lineage(demo.study)
    incumbent = demo.study.incumbent
    assert incumbent is not None
    labels = [text.strip() for trace in figure.data if trace.text is not None for text in trace.text if text.strip()]
    assert {"t0001", incumbent.name} <= set(labels)


def test_nothing_on_the_front_is_beaten() -> None:
    generator = random.Random(1)
    points = [(generator.random(), generator.random()) for _ in range(200)]
    edge = front(points)
    for cost, loss in edge:
        assert not any(c <= cost and v <= loss and (c, v) != (cost, loss) for c, v in points)
    for point in set(points) - set(edge):
        assert any(cost <= point[0] and loss <= point[1] for cost, loss in edge)


def constants_study() -> StudyState:
    fake = FakeStudy()
    fake.measure_noise()
    first = fake.try_change(loss=2.1, parent="t0001", constants={"LR": (0.01, 0.1)})
    second = fake.try_change(loss=2.0, parent=first, constants={"ACT": ("relu", "silu")})
    fake.try_change(loss=2.05, parent=second, constants={"LR": (0.1, 0.3), "BIAS": (True, False)})
    return fake.study


def test_a_program_inherits_the_constants_of_its_parents() -> None:
    study = constants_study()
    values = [[value_of(study, program, name) for name in ("LR", "ACT")] for program in study.programs.values()]
    assert values == [[0.01, "relu"], [0.1, "relu"], [0.1, "silu"], [0.3, "silu"]]


def test_constants_choose_the_axis_by_the_values() -> None:
    figure = constants(constants_study())
    titles = [annotation.text for annotation in figure.layout.annotations]
    axes = [figure.layout.xaxis.type, figure.layout.xaxis2.type, figure.layout.xaxis3.type]
    assert dict(zip(titles, axes, strict=True)) == {"LR": "log", "ACT": "category", "BIAS": "category"}
