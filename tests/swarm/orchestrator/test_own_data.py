"""What a study of a graded target is called by, and that it goes on with the grader that it began with."""

from pathlib import Path

import pytest
from factories.graded import GRADING
from factories.settings import run_settings

from swarm.errors import UsageError
from swarm.orchestrator.data import own_data, require_same_grader
from swarm.records.data import named, reservation

ASKS = GRADING.model_copy(
    update={"environment": ("TOY_URL", "TOY_MODEL", "TOY_API_KEY"), "stand_in_without": "TOY_URL"}
)
TOLD = {"TOY_URL": "http://localhost:1/v1", "TOY_MODEL": "small", "TOY_API_KEY": "sk-1", "OTHER": "x"}


def data(environment: dict[str, str]) -> str:
    return own_data(Path("/x"), ASKS, environment).dataset


def test_a_stand_in_is_called_one_wherever_its_numbers_stand() -> None:
    assert own_data(Path("/x"), GRADING, {}).dataset == "own" and reservation("own") is None
    assert data({"TOY_MODEL": "small"}) == data({"TOY_URL": ""}) == "standin-model"
    assert named("standin-model") == "a scripted stand-in for a language model"
    assert reservation("standin-model") == "Answers of a scripted stand-in, no claim about a language model"


def test_what_a_grader_is_told_is_in_the_name_and_no_key_is() -> None:
    real = data(TOLD)
    assert real.startswith("own-") and reservation(real) is None and named(real) == "data of its own"
    assert data({**TOLD, "TOY_API_KEY": "sk-2", "OTHER": "y"}) == real
    assert data({**TOLD, "TOY_MODEL": "large"}) != real


def test_a_study_does_not_go_on_with_another_grader() -> None:
    settings = run_settings(grading=ASKS, dataset="standin-model")
    require_same_grader(settings, {})
    require_same_grader(run_settings(dataset="standin"), TOLD)
    with pytest.raises(UsageError, match=r"would not be comparable\. Set TOY_URL, TOY_MODEL, TOY_API_KEY as they were"):
        require_same_grader(settings, TOLD)
