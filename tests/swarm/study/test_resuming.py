"""What a study keeps when it goes on, what a person may change, and what nobody may."""

import math

import pytest
from factories.settings import run_settings

from swarm.errors import UsageError
from swarm.study.options import UpOptions, check_options, limit
from swarm.study.resuming import resumed, terms
from swarm.study.settings import ProposerSettings, RunSettings

NOW = 1_000_000.0
LIMITED = ProposerSettings(spec="openai", model="m", base_url="http://a/v1", max_usd=5.0, max_tokens=1000)


def study(**fields: object) -> RunSettings:
    had = {
        "workers": 2,
        "trials": 40,
        "deadline_at": NOW + 500,
        "sandbox": "strict",
        "start_up": "spawn",
        "gpu_mode": "exclusive",
        "seed": 3,
        "memory": "own",
        "early_stop": True,
        "proposers": {"worker_1": LIMITED, "worker_2": ProposerSettings(spec="tpe", max_usd=5.0)},
    }
    return run_settings(**(had | fields))


def test_nothing_given_changes_nothing() -> None:
    assert resumed(study(), UpOptions(resume=True), NOW) == (study(), ())


CHANGES = [
    ({"trials": 60}, {"trials": 60}),
    ({"trials": math.inf}, {"trials": None}),
    ({"hours": 2.0}, {"deadline_at": NOW + 7200}),
    ({"hours": math.inf}, {"deadline_at": None}),
    ({"sandbox": "none"}, {"sandbox": "none"}),
    ({"sandbox": "auto", "given": frozenset({"sandbox"})}, {"sandbox": "auto"}),
    ({"start_up": "zygote", "given": frozenset({"start_up"})}, {"start_up": "zygote"}),
    ({"seed": 7}, {"seed": 7}),
    ({"memory": "off"}, {"memory": "off"}),
    ({"early_stop": False, "given": frozenset({"early_stop"})}, {"early_stop": False}),
    ({"gpu_mode": "shared"}, {"gpu_mode": "shared"}),
    ({"workers": 1}, {"workers": 1, "proposers": {"worker_1": LIMITED}}),
]


@pytest.mark.parametrize(("options", "update"), CHANGES)
def test_what_is_given_changes_and_nothing_else(options: dict[str, object], update: dict[str, object]) -> None:
    after, changes = resumed(study(), UpOptions(resume=True, **options), NOW)  # type: ignore[arg-type]
    assert after == study(**update)
    assert changes and all(" -> " in change for change in changes)


def test_a_default_that_is_named_counts_and_one_that_is_not_does_not() -> None:
    three = study(workers=3, proposers={f"worker_{n}": LIMITED for n in (1, 2, 3)})
    assert resumed(three, UpOptions(resume=True, workers=2), NOW)[0].workers == 3
    named = UpOptions(resume=True, workers=2, given=frozenset({"workers"}))
    assert list(resumed(three, named, NOW)[0].proposers) == ["worker_1", "worker_2"]


LIMIT_CHANGES = [
    ({}, (5.0, 1000)),
    ({"max_usd": 9.0}, (9.0, 1000)),
    ({"max_usd": math.inf}, (None, 1000)),
    ({"max_tokens": math.inf}, (5.0, None)),
    ({"proposer": "openai:other@http://b/v1"}, (5.0, 1000)),
    ({"proposer": "cli:codex"}, (5.0, 1000)),
    ({"worker_proposers": {"worker_1": "auto"}}, (5.0, 1000)),
    ({"workers": 4}, (5.0, 1000)),
    ({"model": "other", "price_in": 1.0, "price_out": 2.0}, (5.0, 1000)),
]


@pytest.mark.parametrize(("options", "limits"), LIMIT_CHANGES)
def test_a_limit_changes_by_its_own_word_only(options: dict[str, object], limits: tuple[object, object]) -> None:
    after, _ = resumed(study(), UpOptions(resume=True, **options), NOW)  # type: ignore[arg-type]
    chosen = after.proposers["worker_1"]
    assert (chosen.max_usd, chosen.max_tokens) == limits
    assert all(one.max_usd == limits[0] for one in after.proposers.values())


def test_a_lifted_limit_is_recorded_by_its_word() -> None:
    _, changes = resumed(study(), UpOptions(resume=True, max_usd=math.inf), NOW)
    assert changes == ("worker_1 max_usd: 5 -> unlimited", "worker_2 max_usd: 5 -> unlimited")
    assert "worker_1 max_usd" in terms(study()) and terms(study())["worker_2 max_tokens"] == "unlimited"


def test_a_model_goes_with_its_server_and_stays_where_the_kind_does() -> None:
    def server(**options: object) -> tuple[object, ...]:
        chosen = resumed(study(), UpOptions(resume=True, **options), NOW)[0].proposers["worker_1"]  # type: ignore[arg-type]
        return chosen.spec, chosen.model, chosen.base_url

    assert server(proposer="openai") == ("openai", "m", "http://a/v1")
    assert server(proposer="openai:n") == ("openai", "n", "http://a/v1")
    assert server(proposer="openai:n", model="k") == ("openai", "n", "http://a/v1")
    assert server(model="k") == ("openai", "k", "http://a/v1")
    assert server(proposer="cli:codex") == ("cli:codex", None, None)
    assert server(worker_proposers={"worker_2": "openai:n"}) == ("openai", "m", "http://a/v1")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"target": "another"}, "--target is another, and study fake-study has tiny"),
        ({"device": "cuda"}, "--device is cuda, and study fake-study has cpu"),
        ({"data": "cifar100"}, "--data is cifar100, and study fake-study has standin"),
        ({"budget_s": 12.0}, "--budget-s is 12.0, and study fake-study has 3000"),
        ({"worker_proposers": {"worker_3": "tpe"}}, "--worker names 'worker_3'; this run has worker_1, worker_2"),
    ],
)
def test_what_would_make_results_incomparable_is_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        resumed(study(), UpOptions(resume=True, **options), NOW)  # type: ignore[arg-type]


def test_what_is_said_again_as_it_was_is_no_change() -> None:
    for target in ("tiny", "models/tiny", "./models/tiny/"):
        same = UpOptions(resume=True, target=target, device="cpu", data="standin", budget_s=3000.0, trials=40)
        assert resumed(study(), same, NOW) == (study(), ())


def test_a_limit_is_a_number_or_the_word() -> None:
    assert (limit("--max-usd", None, float), limit("--max-usd", "2.5", float)) == (None, 2.5)
    assert limit("--max-usd", "unlimited", float) == math.inf
    for text in ("inf", "nan", "none", "", "many", "1e999"):
        with pytest.raises(UsageError, match="or the word unlimited"):
            limit("--max-usd", text, float)
    with pytest.raises(UsageError, match="a whole number"):
        limit("--trials", "2.5", int)
    check_options(UpOptions(max_usd=math.inf, trials=math.inf, hours=math.inf, max_tokens=math.inf))
