"""What follows the search: how long the finals take, and when a study with an end has to begin them."""

import pytest
from factories.settings import run_settings
from factories.studies import FakeStudy
from fakes.fake_clock import FakeClock

from swarm.orchestrator.ahead import LOOK_EVERY_S, Foresight, finals_ahead
from swarm.orchestrator.control import Control
from swarm.study.steering import steer_limit
from swarm.verdict.plateau import FEWEST


def a_study(trials: int = 40) -> FakeStudy:
    fake = FakeStudy()
    fake.measure_noise()
    fake.try_change(effect=-0.5)
    while len(fake.study.trials) < trials:
        fake.try_change(effect=1.0, parent="t0001")
    return fake


def test_the_finals_of_a_drain_are_a_fifth_of_all_and_say_how_long_they_take() -> None:
    ahead = finals_ahead(a_study().study, run_settings(workers=2, finals="auto"))
    assert ahead is not None and ahead.runs == 10
    assert ahead.seconds == 20.0 * (5 + 1)  # a trial takes 20 s, and two run at a time
    assert str(ahead) == "10 runs, about 2 min"


def test_nothing_follows_without_finals_or_too_few_trials() -> None:
    assert finals_ahead(a_study().study, run_settings(finals="off")) is None
    assert finals_ahead(a_study(12).study, run_settings(finals="auto")) is None
    asked = finals_ahead(a_study(12).study, run_settings(finals="now"))
    assert asked is not None and asked.runs == 12


def test_the_search_of_a_night_ends_when_the_finals_need_what_is_left() -> None:
    fake, clock = a_study(), FakeClock()
    clock.jump(fake.study.opened.at - clock.now())
    fake.write(steer_limit(fake.study, "hours", "1", clock.now()))
    foresight = Foresight(run_settings(workers=2, finals="auto", deadline_at=clock.now() + 3600), clock)
    assert foresight.word(lambda: fake.study, Control.RUN) is None
    clock.sleep(3600 - 121)
    assert foresight.word(lambda: fake.study, Control.RUN) is None
    clock.sleep(LOOK_EVERY_S)
    assert foresight.word(lambda: fake.study, Control.RUN) is Control.FINALS
    clock.sleep(120)
    assert foresight.word(lambda: fake.study, Control.FINALS) is Control.DRAIN


def test_a_person_moves_the_end_of_a_night_that_runs() -> None:
    fake, clock = a_study(), FakeClock()
    clock.jump(fake.study.opened.at - clock.now())
    foresight = Foresight(run_settings(workers=2, finals="off", deadline_at=clock.now() + 3600), clock)
    fake.write(steer_limit(fake.study, "hours", "2", clock.now()))
    foresight.word(lambda: fake.study, Control.RUN)
    clock.sleep(3601)
    assert foresight.word(lambda: fake.study, Control.RUN) is None and not foresight.time_is_up()
    fake.write(steer_limit(fake.study, "hours", "0.01", clock.now()))
    clock.sleep(LOOK_EVERY_S)
    assert foresight.word(lambda: fake.study, Control.RUN) is None
    clock.sleep(36)
    assert foresight.word(lambda: fake.study, Control.RUN) is Control.DRAIN
    fake.write(steer_limit(fake.study, "hours", "unlimited", clock.now()))
    clock.sleep(LOOK_EVERY_S)
    assert foresight.word(lambda: fake.study, Control.RUN) is None


def test_only_a_larger_number_of_trials_gives_more() -> None:
    fake = a_study()
    foresight = Foresight(run_settings(trials=50), FakeClock())
    said = []
    for trials in (60, 45, "unlimited", 70):
        fake.limit(trials)
        said.append(foresight.gave_more(fake.study))
        assert not foresight.gave_more(fake.study), "once"
    assert said == [True, False, True, False]


@pytest.mark.parametrize(("asked", "word"), [(True, Control.FINALS), (False, None)])
def test_a_search_at_a_plateau_ends_for_its_finals_only_if_that_was_asked(asked: bool, word: Control | None) -> None:
    fake = a_study(FEWEST + 8)
    foresight = Foresight(run_settings(finals="auto", stop_at_plateau=asked), FakeClock())
    assert foresight.word(lambda: fake.study, Control.RUN) is word
    notes = [*foresight.finding(), *foresight.finding()]
    assert [note.topic for note in notes] == (["plateau"] if asked else [])


def test_finals_that_a_person_asks_for_are_ended_by_no_plateau() -> None:
    fake = a_study(FEWEST + 8)
    foresight = Foresight(run_settings(finals="now", stop_at_plateau=True), FakeClock())
    assert foresight.word(lambda: fake.study, Control.RUN) is None and foresight.plateau is None
