"""The walltime limit against tenants: a budget in seconds as if alone fits into it beside everybody who is let in."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
from fakes.fake_clock import FakeClock

from swarm.admission import Request
from swarm.admission.policy.core import decide
from swarm.admission.policy.events import Finished, Grant, Submitted
from swarm.admission.policy.explain import why
from swarm.admission.policy.model import Demand, Device, Ending, Host, opening
from swarm.execution.executor import MemoryEvidence, TrialOrder
from swarm.execution.memory import request_of
from swarm.orchestrator.opening import _scaled
from swarm.records import BESIDE_TRAINING_S, Budget

FULL = Budget(kind="solo_seconds", amount=300, walltime_limit_s=840)


class Bench:
    """One card of 24 GiB, on which small jobs find room by their memory."""

    def __init__(self) -> None:
        card = Device("GPU-a", "Fake 4090", 24_564, 464, free_mib=24_100)
        self.state, self.now = opening((card,), Host(16, 64_000)), 0.0

    def submit(self, name: str, *, slots: int = 1, most: int = 0, limit_s: float = 900.0) -> list[str]:
        return self._tell(Submitted(Demand(name, 2_000, limit_s, cpu_slots=slots, most_tenants=most)))

    def end(self, name: str) -> list[str]:
        return self._tell(Finished(name, Ending.CLEAN))

    def _tell(self, event: Submitted | Finished) -> list[str]:
        self.state, actions = decide(self.state, event, self.now)
        return [action.ticket_id for action in actions if isinstance(action, Grant)]


def test_no_more_are_let_in_than_those_who_are_there_can_wait_for() -> None:
    bench = Bench()
    assert [bench.submit(name, most=most) for name, most in (("a", 2), ("b", 3), ("c", 9))] == [["a"], ["b"], []]
    said = why(bench.state, "c", {"a": "trial 1", "b": "trial 2"})
    assert said == (
        "GPU 0 runs trial 1, trial 2, and with more than 2 at once a budget would not fit into its walltime limit"
    )
    assert bench.end("a") == ["c"]


def test_nobody_joins_more_than_it_can_wait_for_itself() -> None:
    bench = Bench()
    assert [bench.submit(name) for name in "ab"] == [["a"], ["b"]]
    assert bench.submit("c", most=2) == []
    assert bench.end("a") == ["c"]


def test_a_budget_that_is_not_counted_as_if_alone_has_any_number_of_neighbours() -> None:
    bench = Bench()
    assert [bench.submit(name) for name in "abcdef"] == [[name] for name in "abcdef"]


def test_who_passes_a_waiting_head_does_not_keep_it_out_later() -> None:
    """The head waits for cores alone, and starts beside `a`'s successor as the second or third on the card."""
    bench = Bench()
    assert bench.submit("a", slots=15) == ["a"]
    assert bench.submit("head", slots=4) == []
    assert bench.submit("picky", most=2, limit_s=2000) == []
    assert bench.submit("patient", most=3, limit_s=2000) == ["patient"]


@pytest.mark.parametrize(("workers", "limit_s"), [(1, 840), (2, 840), (3, 1140), (6, 2040)])
def test_a_study_has_a_limit_that_is_long_enough_for_its_workers(workers: int, limit_s: float) -> None:
    found = FULL.for_tenants(workers)
    assert found.walltime_limit_s == limit_s >= workers * FULL.amount + BESIDE_TRAINING_S
    assert _scaled(FULL, 60).for_tenants(workers).walltime_limit_s >= 60 * workers + BESIDE_TRAINING_S
    for kind in ("seconds", "samples"):
        other = FULL.model_copy(update={"kind": kind})
        assert other.for_tenants(workers) == other


def order(device: Literal["cpu", "cuda"], budget: Budget) -> TrialOrder:
    return TrialOrder(
        study_id="s", trial_id="t", agent_id="w", target="tiny", files={}, editable="train.py", seed=1, budget=budget,
        device=device, threads=1, harness_sha256="", memory=MemoryEvidence(profile_mib=1000),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("device", "budget", "most"),
    [
        ("cuda", FULL, 2),
        ("cuda", FULL.for_tenants(3), 3),
        ("cuda", FULL.model_copy(update={"walltime_limit_s": 200.0}), 1),
        ("cuda", FULL.model_copy(update={"kind": "samples"}), 0),
        ("cpu", FULL, 0),
    ],
)
def test_a_trial_says_how_many_neighbours_its_limit_is_good_for(
    device: Literal["cpu", "cuda"], budget: Budget, most: int
) -> None:
    assert request_of(order(device, budget)).most_tenants == most


def test_the_limit_on_tenants_survives_the_ledger(tmp_path: Path) -> None:
    from factories.admission import ask, controller, granted

    made = controller(tmp_path, FakeClock())
    first = granted(made.request(replace(ask("t1", 2000), most_tenants=2)))
    granted(made.request(replace(ask("t2", 2000), most_tenants=2)))
    third = controller(tmp_path, FakeClock()).request(replace(ask("t3", 2000), most_tenants=2))
    assert third.poll() is None and "at once a budget would not fit" in str(third.why)
    assert isinstance(first.request, Request)
