"""When a search has come to an end of its gains, and what is said of it."""

import pytest
from factories.studies import FakeStudy

from swarm.records import Note
from swarm.verdict.plateau import FEWEST, PLATEAU, expected_gain, plateau, plateau_of, stalled_for


def searched(proposals: int, leads_at: int | None = 0) -> FakeStudy:
    """A study whose proposal of this number leads and no other one does."""
    fake = FakeStudy()
    fake.measure_noise()
    for number in range(proposals):
        fake.try_change(loss=1.9 if number == leads_at else 2.6, parent="t0001")
    return fake


def test_a_search_is_at_a_plateau_after_sixty_proposals_without_a_leader_and_not_before() -> None:
    fake = searched(FEWEST)
    assert plateau(fake.study) is None and stalled_for(fake.study) == FEWEST - 1
    fake.try_change(loss=2.6, parent="t0001")
    found = plateau(fake.study)
    assert found is not None and (found.since, found.all) == (FEWEST, FEWEST + 1)


def test_a_search_that_gained_for_long_waits_as_long_again() -> None:
    fake = searched(FEWEST + 20, leads_at=FEWEST + 9)
    while stalled_for(fake.study) < FEWEST + 9:
        assert plateau(fake.study) is None, stalled_for(fake.study)
        fake.try_change(loss=2.6, parent="t0001")
    fake.try_change(loss=2.6, parent="t0001")
    found = plateau(fake.study)
    assert found is not None and found.since == found.all / 2


def test_what_it_rests_on_stands_in_one_line() -> None:
    found = plateau(searched(FEWEST + 1).study)
    assert found is not None and found.gain is not None
    assert 0.2 < found.gain < 0.4 and expected_gain(found.gain, found.since) == pytest.approx(found.gain / 61)
    said = str(found)
    assert said.startswith(
        "60 of 61 proposals finished without a new leader, expected gain of a further one at most 0.00"
    )
    assert " nats, 0." in said and said.endswith(" of a run's noise")


def test_where_nothing_ever_led_no_gain_is_foretold() -> None:
    found = plateau(searched(FEWEST, leads_at=None).study)
    assert found is not None and found.gain is None
    assert str(found) == "60 of 60 proposals finished without a new leader, and none has ever led"


def test_nothing_is_said_without_a_noise_floor() -> None:
    fake = FakeStudy()
    fake.finish(fake.baseline())
    for _ in range(FEWEST):
        fake.finish(fake.claim(effect=0.4, parent="t0001"))
    assert plateau(fake.study) is None


def test_a_plateau_holds_until_somebody_proposes_again() -> None:
    fake = searched(FEWEST + 1)
    assert plateau_of(fake.study) is None
    fake.write(Note(topic=PLATEAU, description="40 of 41"))
    fake.finish(fake.claim(program="t0006"))
    assert plateau_of(fake.study) == "40 of 41", "another run of a program is no proposal"
    fake.try_change(loss=2.6, parent="t0001")
    assert plateau_of(fake.study) is None
