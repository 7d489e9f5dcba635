"""What ends a study, as it was opened and as a person has changed it: one place, asked by all."""

import math

import pytest
from factories.records import study_opened
from factories.studies import FakeStudy

from swarm.errors import UsageError
from swarm.records import Steer
from swarm.records.kinds import parse_record
from swarm.study.limits import Limits
from swarm.study.steering import steer_limit
from swarm.verdict import slots

NOW = 1_790_000_000.0


@pytest.fixture
def fake() -> FakeStudy:
    fake = FakeStudy(trials=40, deadline_at=NOW + 3600, finals="auto")
    fake.measure_noise()
    return fake


def test_a_study_has_the_limits_it_was_opened_with_until_a_person_changes_them(fake: FakeStudy) -> None:
    assert fake.study.limits == Limits(40, NOW + 3600)
    fake.limit(60)
    assert fake.study.limits == Limits(60, NOW + 3600)
    fake.write(steer_limit(fake.study, "hours", "2.5", NOW))
    assert fake.study.limits == Limits(60, NOW + 2.5 * 3600)
    for name in ("trials", "hours"):
        fake.write(steer_limit(fake.study, name, "unlimited", NOW))
    assert fake.study.limits == Limits(None, None) and slots.may_search(fake.study)


def test_a_study_that_goes_on_has_what_its_new_first_record_says(fake: FakeStudy) -> None:
    fake.limit(60)
    fake.write(study_opened(trials=70))
    assert fake.study.limits == Limits(70, None)


def test_the_finals_hold_a_fifth_of_the_new_number(fake: FakeStudy) -> None:
    assert slots.held_now(fake.study) == 8
    fake.limit(100)
    assert slots.held_now(fake.study) == 20
    fake.limit(5)
    assert slots.held_now(fake.study) == 0 and not slots.may_search(fake.study)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("trials", "4", r"trials is 4, and fake-study has claimed 5 already: give 5 to 1000000.*or end it with"),
        ("trials", "0", "trials is 0"),
        ("trials", "1000001", "give 5 to 1000000"),
        ("trials", "40", "fake-study has trials 40 already: there is nothing to change"),
        ("trials", "12.5", "trials is '12.5'; it is a whole number, or the word unlimited"),
        ("trials", "nan", "trials is 'nan'"),
        ("trials", "", "trials is ''"),
        ("hours", "0", r"hours is 0, counted from now, and must lie between 0\.0001 and 10000; `swarm stop` ends"),
        ("hours", "-3", "hours is -3"),
        ("hours", "inf", "hours is 'inf'; it is a number, or the word unlimited"),
        ("hours", "10001", "hours is 10001"),
        ("hours", "soon", "hours is 'soon'"),
        ("days", "1", "there is no limit called 'days'; a study has trials and hours"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_would_do(fake: FakeStudy, name: str, text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        steer_limit(fake.study, name, text, NOW)


def test_what_is_claimed_is_enough(fake: FakeStudy) -> None:
    fake.limit(len(fake.study.trials))
    assert fake.study.limits.trials == 5


@pytest.mark.parametrize(
    "word",
    [
        Steer(action="budget", subject="loss", value=1.0),
        Steer(action="budget", value=50.0),
        Steer(action="budget", subject="trials", value=0.0),
        Steer(action="budget", subject="trials", value=-math.inf),
        Steer(action="budget", subject="deadline_at", value=math.nan),
        Steer(action="veto", subject="trials", value=50.0),
    ],
)
def test_a_record_that_limits_nothing_changes_nothing(fake: FakeStudy, word: Steer) -> None:
    fake.write(word)
    assert fake.study.limits == Limits(40, NOW + 3600)


def test_a_word_of_an_older_version_still_reads() -> None:
    line = {"kind": "steer", "action": "veto", "subject": "loss", "agent_id": "person", "study_id": "s"}
    told = parse_record(line | {"validation_loss": None, "description": ""})
    assert isinstance(told, Steer) and Limits(3, None).after(told) == Limits(3, None)
