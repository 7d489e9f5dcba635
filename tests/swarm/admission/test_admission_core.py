"""The pure policy: a state machine over everything that may happen, and the rules one by one."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from swarm.admission.policy.core import decide, never_fits
from swarm.admission.policy.ended_run import EndedRun
from swarm.admission.policy.events import (
    Action,
    Event,
    Finished,
    Grant,
    Kill,
    Sampled,
    Submitted,
    Tick,
)
from swarm.admission.policy.model import FOREVER, AdmissionState, Demand, Device, Ending, Host, opening, slot
from swarm.admission.policy.oom import Infeasible, Observed, OomReport, Retry, after_oom, classify
from swarm.admission.policy.predict import (
    History,
    PeakQuery,
    PeakRecord,
    predict,
    under_prediction_rate,
    upper_quantile,
)
from swarm.admission.policy.request import Request
from swarm.admission.policy.scheduling import best_fit
from swarm.gpu.reading import Attribution, DeviceReading

HOST = Host(cpu_slots=6, ram_mib=64_000)
WALLTIME_S = 308.0


def card(uuid: str = "GPU-a", **changes: object) -> Device:
    return replace(Device(uuid, "Fake 4090", 24564, 464, free_mib=24100), **changes)


def demand(name: str, memory_mib: int, **changes: object) -> Demand:
    return replace(Demand(name, memory_mib, WALLTIME_S), **changes)


def sampled(
    occupied_mib: int, measured: dict[str, int] | None = None, *, lost: bool = False, uuid: str = "GPU-a"
) -> Sampled:
    kind = Attribution.UNAVAILABLE if measured is None else Attribution.MATCHED
    reading = DeviceReading(uuid, "Fake 4090", 24564, 24100 - occupied_mib, 464, kind, lost=lost)
    return Sampled(reading, measured or {})


class Bench:
    """A state that is driven by events and remembers what was answered."""

    def __init__(self, *devices: Device, host: Host = HOST) -> None:
        self.state: AdmissionState = opening(devices or (card(),), host)
        self.now = 0.0

    def tell(self, event: Event, after_s: float = 0.0) -> list[Action]:
        self.now += after_s
        self.state, actions = decide(self.state, event, self.now)
        return list(actions)

    def granted(self, event: Event, after_s: float = 0.0) -> list[str]:
        return [action.ticket_id for action in self.tell(event, after_s) if isinstance(action, Grant)]

    def withdraw(self, name: str) -> None:
        """The ledger's part: the next state is built without the ticket."""
        self.state = replace(self.state, queue=tuple(d for d in self.state.queue if d.ticket_id != name))


def test_two_jobs_of_the_original_run_fit_and_the_third_waits() -> None:
    bench = Bench()
    assert [bench.granted(Submitted(demand(name, 8200))) for name in "abc"] == [["a"], ["b"], []]
    bench.tell(sampled(0, {}))
    assert bench.granted(Finished("a", Ending.CLEAN)) == ["c"]


def test_what_cannot_fit_an_idle_machine_is_known_beforehand() -> None:
    state = Bench().state
    assert "at most 23364 MiB" in str(never_fits(state, demand("a", 24_000)))
    assert "6 CPU slots" in str(never_fits(state, demand("b", 1, cpu_slots=7)))
    assert never_fits(state, demand("c", 23_364, cpu_slots=6)) is None


def test_best_fit_takes_the_fullest_card_that_still_fits() -> None:
    bench = Bench(card("GPU-a"), card("GPU-b"))
    bench.tell(Submitted(demand("big", 15_000)))
    bench.tell(Submitted(demand("small", 8_000)))
    assert bench.state.located["small"] == bench.state.located["big"]
    bench.tell(Submitted(demand("other", 9_000)))
    assert bench.state.located["other"] != bench.state.located["big"]


def test_foreign_memory_counts_at_once_and_is_forgotten_after_half_a_minute() -> None:
    bench = Bench()
    bench.tell(sampled(16_000, {}))
    bench.tell(sampled(0, {}), after_s=1)
    assert bench.granted(Submitted(demand("a", 8_000))) == []
    assert bench.granted(sampled(0, {}), after_s=28) == []
    assert bench.granted(sampled(0, {}), after_s=2) == ["a"]


def test_what_was_there_before_us_stays_foreign_without_attribution() -> None:
    bench = Bench()
    bench.tell(sampled(10_000))
    assert bench.granted(Submitted(demand("a", 8_000))) == ["a"]
    bench.tell(sampled(16_000), after_s=40)  # ours has grown to 6000 of its 8000
    assert bench.state.devices["GPU-a"].foreign_mib == 10_000


def test_memory_on_its_way_back_counts_once_and_is_not_foreign() -> None:
    bench = Bench()
    for name in "ab":
        bench.tell(Submitted(demand(name, 8_000)))
    bench.tell(sampled(12_000, {"a": 6_000, "b": 6_000}), after_s=60)
    bench.tell(Finished("a", Ending.CLEAN))
    bench.tell(Finished("b", Ending.CLEAN))
    bench.tell(sampled(6_000, {}), after_s=0.5)  # one of the two has returned its memory
    device = bench.state.devices["GPU-a"]
    assert (device.foreign_mib, device.committed_mib) == (0, 6_000)
    bench.tell(sampled(0, {}), after_s=0.5)
    assert bench.state.devices["GPU-a"].committed_mib == 0


def test_memory_that_never_comes_back_becomes_foreign() -> None:
    bench = Bench()
    bench.tell(Submitted(demand("a", 8_000)))
    bench.tell(sampled(6_000, {"a": 6_000}), after_s=60)
    bench.tell(Finished("a", Ending.CLEAN))
    bench.tell(sampled(6_000, {}), after_s=11)
    device = bench.state.devices["GPU-a"]
    assert (device.foreign_mib, device.committed_mib) == (6_000, 0)


def test_a_process_that_has_just_gone_does_not_look_like_somebody_elses() -> None:
    bench = Bench()
    bench.tell(Submitted(demand("a", 8_000)))
    bench.tell(sampled(6_000, {"a": 6_000}), after_s=60)
    bench.tell(sampled(6_000, {}), after_s=1)
    assert bench.state.devices["GPU-a"].foreign_mib == 0


def test_backfill_passes_only_what_cannot_delay_the_head() -> None:
    bench = Bench()
    bench.tell(Submitted(demand("running", 12_000)))
    bench.tell(Submitted(demand("head", 20_000)))
    assert bench.granted(Submitted(demand("too_long", 5_000, walltime_limit_s=400.0))) == []
    assert bench.granted(Submitted(demand("beside_head", 3_000, walltime_limit_s=400.0))) == ["beside_head"]
    assert bench.granted(Submitted(demand("short", 3_300, walltime_limit_s=100.0))) == ["short"]


def test_a_head_is_passed_at_most_four_times() -> None:
    bench = Bench()
    bench.tell(Submitted(demand("running", 12_000)))
    bench.tell(Submitted(demand("head", 20_000)))
    passed = [bench.granted(Submitted(demand(f"s{i}", 100, walltime_limit_s=10.0))) for i in range(6)]
    assert passed == [["s0"], ["s1"], ["s2"], ["s3"], [], []]
    assert bench.state.queue[0].bypasses == 4


def test_alone_waits_for_an_empty_card_and_keeps_it_to_itself() -> None:
    bench = Bench()
    bench.tell(sampled(0, {}))
    bench.tell(Submitted(demand("a", 4_000)))
    assert bench.granted(Submitted(demand("lone", 9_000, alone=True))) == []
    assert bench.granted(Finished("a", Ending.CLEAN)) == ["lone"]
    assert bench.state.devices["GPU-a"].holds[0].reservation_mib == 23_364
    assert bench.granted(Submitted(demand("b", 64))) == []


def test_alone_stays_alone_when_others_leave() -> None:
    bench = Bench()
    bench.tell(sampled(10_000, {}))
    assert bench.granted(Submitted(demand("lone", 9_000, alone=True))) == ["lone"]
    bench.tell(sampled(0, {}), after_s=40)
    assert bench.granted(Submitted(demand("b", 64))) == []


def test_cpu_slots_and_ram_are_part_of_the_request() -> None:
    bench = Bench()
    assert bench.granted(Submitted(demand("a", 100, cpu_slots=4, host_ram_mib=40_000))) == ["a"]
    assert bench.granted(Submitted(demand("cores", 100, cpu_slots=3))) == []
    bench.withdraw("cores")
    assert bench.granted(Submitted(demand("ram", 100, host_ram_mib=30_000))) == []
    assert bench.granted(Finished("a", Ending.CLEAN)) == ["ram"]


def test_what_runs_on_a_lost_card_is_ended_once_it_is_sure() -> None:
    """The driver's word counts after ten seconds; a card that only gives no answer is waited for."""
    bench = Bench()
    bench.granted(Submitted(demand("a", 8200)))
    gone = replace(
        sampled(0, lost=True), reading=replace(sampled(0, lost=True).reading, fault="NVMLError_GpuIsLost: x")
    )
    assert bench.tell(gone) == []
    assert bench.tell(gone, after_s=9) == []
    (kill,) = bench.tell(gone, after_s=2)
    assert isinstance(kill, Kill) and kill.lost and "its card is lost: Fake 4090 (GPU-a)" in kill.reason
    bench = Bench()
    bench.granted(Submitted(demand("a", 8200)))
    assert [bench.tell(sampled(0, lost=True), after_s=60) for _ in range(3)] == [[], [], []]


def test_a_demand_goes_to_one_of_its_cards_only() -> None:
    cards = tuple(Device(f"GPU-{name}", "Fake 4090", 24_564, 464, 24_100) for name in "abc")
    state = opening(cards, Host(8, 64_000))
    for wanted in (("GPU-b",), ("GPU-c", "GPU-b")):
        found = best_fit(state, replace(demand("j", 8200), cards=wanted))
        assert found is not None and found.uuid in wanted
    assert "no device GPU-z" in str(never_fits(state, replace(demand("j", 8200), cards=("GPU-z",))))


def test_a_lost_card_admits_nothing_kills_nothing_and_resumes_by_itself() -> None:
    bench = Bench()
    bench.tell(Submitted(demand("a", 4_000)))
    assert bench.tell(sampled(0, lost=True), after_s=1) == []
    assert bench.granted(Submitted(demand("b", 4_000))) == []
    assert bench.granted(sampled(0, {}), after_s=60) == ["b"]


def over_use(bench: Bench, seconds: float, *, used_mib: int, occupied_mib: int, step_s: float = 1.0) -> list[Action]:
    actions: list[Action] = []
    for _ in range(round(seconds / step_s)):
        actions += bench.tell(sampled(occupied_mib, {"a": used_mib, "b": 8_000}), after_s=step_s)
    return actions


@pytest.fixture
def pair() -> Bench:
    bench = Bench()
    for name in "ab":
        bench.tell(Submitted(demand(name, 10_000)))
    return bench


def test_only_a_lasting_excess_that_endangers_somebody_is_killed(pair: Bench) -> None:
    assert over_use(pair, 9, used_mib=15_900, occupied_mib=23_900) == []
    killed = over_use(pair, 3, used_mib=15_900, occupied_mib=23_900)
    assert {action.lease_id for action in killed if isinstance(action, Kill)} == {"a"}


def test_a_spike_of_half_a_second_kills_nobody(pair: Bench) -> None:
    actions = over_use(pair, 0.5, used_mib=16_000, occupied_mib=24_000, step_s=0.05)
    assert actions + over_use(pair, 20, used_mib=9_000, occupied_mib=17_000) == []


def test_excess_that_harms_nobody_goes_on(pair: Bench) -> None:
    assert over_use(pair, 60, used_mib=11_000, occupied_mib=19_000) == []


def test_excess_of_a_lone_job_goes_on() -> None:
    bench = Bench()
    bench.tell(Submitted(demand("a", 10_000)))
    for _ in range(30):
        assert bench.tell(sampled(24_000, {"a": 24_000}), after_s=1.0) == []


def test_excess_that_keeps_the_head_waiting_is_killed(pair: Bench) -> None:
    pair.tell(Submitted(demand("c", 3_000)))
    pair.tell(Finished("c", Ending.CLEAN))
    over_use(pair, 5, used_mib=11_000, occupied_mib=19_000)
    pair.tell(Submitted(demand("head", 3_300)))
    killed = over_use(pair, 8, used_mib=11_000, occupied_mib=19_000)
    assert {action.lease_id for action in killed if isinstance(action, Kill)} == {"a"}


def test_nobody_is_killed_without_attribution(pair: Bench) -> None:
    for _ in range(60):
        assert pair.tell(sampled(24_000), after_s=1.0) == []


def test_nobody_is_killed_when_attribution_ends(pair: Bench) -> None:
    assert over_use(pair, 12, used_mib=11_000, occupied_mib=19_000) == []
    assert pair.tell(sampled(24_000), after_s=0.1) == []


def test_a_few_samples_are_not_ten_seconds(pair: Bench) -> None:
    assert over_use(pair, 15, used_mib=15_900, occupied_mib=23_900, step_s=3) == []


def test_many_samples_are_not_ten_seconds(pair: Bench) -> None:
    assert over_use(pair, 9, used_mib=15_900, occupied_mib=23_900, step_s=0.5) == []


def test_an_excess_that_comes_and_goes_kills_nobody(pair: Bench) -> None:
    """Over its reservation in two of three samples, the latest among them, for a minute: no lasting excess."""
    for index in range(60):
        used = 9_000 if index % 3 == 1 else 15_900
        assert pair.tell(sampled(23_900, {"a": used, "b": 8_000}), after_s=1.0) == []


def test_two_device_ooms_cost_one_slot_and_three_clean_runs_give_it_back() -> None:
    bench = Bench()
    bench.tell(sampled(0, {}))
    for round_ in range(2):
        for name in "ab":
            bench.tell(Submitted(demand(f"{name}{round_}", 4_000)))
        bench.tell(Finished(f"a{round_}", Ending.DEVICE_OOM, deficit_mib=100))
        bench.tell(Finished(f"b{round_}", Ending.OTHER))
    assert bench.state.devices["GPU-a"].concurrency_limit == 1
    assert bench.state.devices["GPU-a"].headroom_mib == 736 + 200
    for index in range(3):
        assert bench.granted(Submitted(demand(f"x{index}", 100))) == [f"x{index}"]
        assert bench.granted(Submitted(demand(f"y{index}", 100))) == []
        bench.withdraw(f"y{index}")
        bench.tell(Finished(f"x{index}", Ending.CLEAN))
    assert bench.state.devices["GPU-a"].concurrency_limit == FOREVER
    assert bench.state.devices["GPU-a"].headroom_mib == 736


@pytest.mark.parametrize(("returns_slowly", "limit"), [(True, FOREVER), (False, 1)])
def test_the_kernels_oom_killer_costs_a_slot_where_the_device_is_ram(returns_slowly: bool, limit: float) -> None:
    bench = Bench(card("GPU-a", returns_slowly=returns_slowly))
    for name in "ab":
        bench.tell(Submitted(demand(name, 4_000)))
    for name in "ab":
        bench.tell(Finished(name, Ending.HOST_OOM))
    assert bench.state.devices["GPU-a"].concurrency_limit == limit


def test_ten_minutes_give_the_slot_back_too() -> None:
    bench = Bench()
    for name in "abcd":
        bench.tell(Submitted(demand(name, 4_000)))
    for name in "ab":
        bench.tell(Finished(name, Ending.DEVICE_OOM))
    assert bench.state.devices["GPU-a"].concurrency_limit == 2
    bench.tell(sampled(0, {}), after_s=601)
    assert bench.state.devices["GPU-a"].concurrency_limit == FOREVER


def test_events_told_twice_change_nothing() -> None:
    """I10: a replayed ledger leads to the same state."""
    bench = Bench()
    for event in (Submitted(demand("a", 8_000)), Submitted(demand("b", 20_000))):
        bench.tell(event)
        once = bench.state
        assert bench.tell(event) == []
        assert bench.state == once
    bench.tell(Finished("a", Ending.OTHER))
    once = bench.state
    assert bench.tell(Finished("a", Ending.OTHER)) == []
    assert bench.state == once


@pytest.mark.parametrize(
    ("observed", "cap_mib", "ending"),
    [
        (Observed(peak_mib=100), 7000, Ending.CLEAN),
        (Observed(failed=True), 7000, Ending.OTHER),
        (Observed(signal=9), 7000, Ending.OTHER),
        (Observed(host_oom=True, signal=9), 7000, Ending.HOST_OOM),
        (Observed(over_reservation=True, signal=15), 7000, Ending.OVER_RESERVATION),
        (Observed(out_of_memory=True), 7000, Ending.OWN_CAP),
        (Observed(out_of_memory=True), None, Ending.DEVICE_OOM),
        (Observed(out_of_memory=True, report=OomReport(500, 6800, 7000)), 7000, Ending.OWN_CAP),
        (Observed(out_of_memory=True, report=OomReport(500, 3000, 7000)), 7000, Ending.DEVICE_OOM),
        # Near the cap: torch asks the device for 20 MiB where a program wants two, and for whole pieces of 2 MiB.
        (Observed(out_of_memory=True, report=OomReport(2, 6985, 7000, 12_000)), 7000, Ending.OWN_CAP),
        (Observed(out_of_memory=True, report=OomReport(2, 6970, 7000, 1)), 7000, Ending.DEVICE_OOM),
        (Observed(out_of_memory=True, report=OomReport(499, 6499, 7000, 12_000)), 7000, Ending.OWN_CAP),
        # Beside the allocator no cap applies.
        (Observed(out_of_memory=True, report=OomReport(0, 6999, 7000, 3, "device")), 7000, Ending.DEVICE_OOM),
        (Observed(out_of_memory=True, report=OomReport(600, 0, None, None, "context")), 7000, Ending.DEVICE_OOM),
        (Observed(out_of_memory=True, report=OomReport(0, 6999, 7000, 3, "host")), 7000, Ending.HOST_OOM),
    ],
)
def test_an_out_of_memory_has_an_owner(observed: Observed, cap_mib: int | None, ending: Ending) -> None:
    assert classify(observed, cap_mib) is ending


@pytest.mark.parametrize(
    ("report", "ending", "learnt_mib"),
    [
        (OomReport(500, 6_800, 7_000), Ending.OWN_CAP, 7_300),  # it has left no peak, and wanted that at least
        (OomReport(0, 3_000, 7_000, 3, "device"), Ending.DEVICE_OOM, None),  # below what was predicted
        (OomReport(0, 6_900, 7_000, 3, "device"), Ending.DEVICE_OOM, 6_900),
        (None, Ending.OWN_CAP, None),
    ],
)
def test_a_lack_of_memory_teaches_what_was_held_and_asked_for(
    report: OomReport | None, ending: Ending, learnt_mib: int | None
) -> None:
    request = Request("w", "t", "s", 60.0, code_sha256="x")
    observed = Observed(out_of_memory=True, report=report, failed=True)
    run = EndedRun(request, 7_600, False, 6_000, "parents", ending, observed)
    record = run.peak_record("card")
    assert (record and record.peak_mib) == learnt_mib
    assert record is None or record.too_small == (ending is Ending.OWN_CAP)


def test_the_retry_ladder() -> None:
    def climb(ending: Ending, attempt: int, **more: object) -> Retry | Infeasible | None:
        options = {"reservation_mib": 8_000, "alone": False, "device_mib": 23_364} | more
        return after_oom(ending, attempt=attempt, **options)

    assert climb(Ending.OWN_CAP, 0) == Retry(12_032, False, 1)
    assert climb(Ending.OWN_CAP, 0, needed=15_000) == Retry(15_040, False, 1)
    assert climb(Ending.OVER_RESERVATION, 0) == Retry(12_032, False, 1)
    assert climb(Ending.OWN_CAP, 2) == Retry(8_064, True, 3)
    assert climb(Ending.OWN_CAP, 1, reservation_mib=20_000) == Retry(20_032, True, 2)
    assert isinstance(climb(Ending.OWN_CAP, 3, alone=True), Infeasible)
    assert climb(Ending.DEVICE_OOM, 0) == Retry(8_000, False, 0)
    assert climb(Ending.DEVICE_OOM, 2, alone=True) == Retry(8_000, True, 3)
    assert isinstance(climb(Ending.DEVICE_OOM, 3, alone=True), Infeasible)
    assert climb(Ending.HOST_OOM, 0) == Retry(8_000, False, 1)
    assert climb(Ending.HOST_OOM, 1) == Retry(8_000, True, 2)
    assert isinstance(climb(Ending.HOST_OOM, 2, alone=True), Infeasible)
    assert climb(Ending.CLEAN, 0) is None


def record(code: str, peak: int, *, source: str = "parents", predicted: int = 5_000, small: bool = False) -> PeakRecord:
    return PeakRecord(code, peak, 6_000, predicted, source, small)  # type: ignore[arg-type]


def test_prediction_prefers_same_code_then_parents_then_probe_then_profile_then_the_default() -> None:
    history = History.of([record("parent", 5_000), record("parent", 5_400), record("same", 3_000)])
    known = predict(PeakQuery("same", ("parent",)), history, usable_mib=23_000)
    assert (known.peak_mib, known.source, known.margin) == (3_000, "same_code", 0.25)
    inherited = predict(PeakQuery("new", ("parent",), batch_ratio=2.0), history, usable_mib=23_000)
    assert (inherited.peak_mib, inherited.source) == (10_800, "parents")
    probed = predict(PeakQuery("new", (), probe_mib=4_000, profile_mib=6_000), history, usable_mib=23_000)
    assert (probed.peak_mib, probed.margin) == (4_000, 0.15)
    stated = predict(PeakQuery("new", profile_mib=6_000), history, usable_mib=23_000)
    assert (stated.peak_mib, stated.source, stated.margin) == (6_000, "profile", 0.15)
    unknown = predict(PeakQuery("new"), history, usable_mib=23_000)
    assert (unknown.peak_mib, unknown.source) == (10_350, "default")


def test_five_observations_narrow_the_margin_and_bad_ones_widen_it() -> None:
    steady = History.of([record("same", 5_000, source="same_code")] * 5)
    assert predict(PeakQuery("same"), steady, usable_mib=23_000).margin == 0.10
    wild = History.of([record("same", 5_000 + 100 * i, source="same_code") for i in range(40)])
    assert predict(PeakQuery("same"), wild, usable_mib=23_000).margin == pytest.approx(0.74)


def test_a_prediction_beyond_the_card_asks_to_be_alone() -> None:
    history = History.of([record("same", 21_000, source="same_code")])
    assert predict(PeakQuery("same"), history, usable_mib=23_364).demand(600, 23_364) == (17_536, True)


def test_the_under_prediction_rate_counts_the_last_fifty_predictions() -> None:
    records = [record("x", 1, small=True)] * 10 + [record("x", 1)] * 45 + [record("x", 1, source="given", small=True)]
    assert under_prediction_rate(records) == pytest.approx(5 / 50)
    assert under_prediction_rate([]) is None
    assert upper_quantile([3, 1, 2]) == 3


class Machine(RuleBasedStateMachine):
    """Jobs come, start, grow within their caps or beyond, end, crash; cards are lost; others take memory."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(card("GPU-a"), card("GPU-b", total_mib=8192, free_mib=7728))
        self.count = 0
        self.waited: dict[str, int] = {}

    def tell(self, event: Event, after_s: float = 0.0) -> None:
        for action in self.bench.tell(event, after_s):
            if isinstance(action, Grant):
                self.check_grant(action)
            assert not (isinstance(action, Kill) and action.lease_id not in self.over())

    def check_grant(self, grant: Grant) -> None:
        """I1, at each grant."""
        device = self.bench.state.devices[grant.uuid]
        promised = device.committed_mib + device.foreign_mib + device.headroom_mib
        assert promised <= device.usable_mib
        assert len(device.holds) <= device.concurrency_limit
        assert not any(hold.alone for hold in device.holds) or len(device.holds) == 1

    def over(self) -> set[str]:
        """I4: who has been over its reservation for ten seconds."""
        now = self.bench.now
        holds = [hold for device in self.bench.state.devices.values() for hold in device.holds]
        return {h.lease_id for h in holds if h.over and now - h.over[0][0] >= 10 and h.measured_mib > h.reservation_mib}

    @rule(memory=st.integers(64, 24_000), alone=st.booleans(), slots=st.integers(0, 3), wall=st.integers(10, 600))
    def submit(self, memory: int, alone: bool, slots: int, wall: int) -> None:
        self.count += 1
        job = demand(f"j{self.count}", memory, alone=alone, cpu_slots=slots, walltime_limit_s=float(wall))
        if never_fits(self.bench.state, job) is None:
            self.tell(Submitted(job))

    @precondition(lambda self: self.bench.state.queue)
    @rule(pick=st.integers(0, 20))
    def withdraw(self, pick: int) -> None:
        queue = self.bench.state.queue
        self.bench.withdraw(queue[pick % len(queue)].ticket_id)
        self.tell(Tick())

    @precondition(lambda self: self.bench.state.located)
    @rule(pick=st.integers(0, 20), ending=st.sampled_from(Ending), deficit=st.integers(0, 2_000))
    def finish(self, pick: int, ending: Ending, deficit: int) -> None:
        leases = sorted(self.bench.state.located)
        self.tell(Finished(leases[pick % len(leases)], ending, deficit))

    @rule(
        use=st.floats(0, 1.3),
        foreign=st.integers(0, 8_000),
        kind=st.sampled_from(["matched", "unavailable", "lost"]),
        after=st.floats(0.1, 20),
        big=st.booleans(),
    )
    def sample(self, use: float, foreign: int, kind: str, after: float, big: bool) -> None:
        device = self.bench.state.devices["GPU-a" if big else "GPU-b"]
        measured = {hold.lease_id: int(hold.reservation_mib * use) for hold in device.holds}
        free = max(0, device.total_mib - device.reserved_mib - sum(measured.values()) - foreign)
        attribution = Attribution.MATCHED if kind == "matched" else Attribution.UNAVAILABLE
        seen = measured if kind == "matched" else {}
        reading = DeviceReading(
            device.uuid, "card", device.total_mib, free, device.reserved_mib, attribution, lost=kind == "lost"
        )
        self.tell(Sampled(reading, seen), after)

    @rule(after=st.floats(0, 700))
    def tick(self, after: float) -> None:
        self.tell(Tick(), after)

    @invariant()
    def index_agrees_with_the_devices(self) -> None:
        state = self.bench.state
        assert list(state.by_offer) == sorted(slot(device) for device in state.devices.values())
        holds = {hold.lease_id: device.uuid for device in state.devices.values() for hold in device.holds}
        assert state.located == holds

    @invariant()
    def host_is_never_overbooked(self) -> None:
        free = self.bench.state.free
        assert min(free.cpu_slots, free.ram_mib) >= 0

    @invariant()
    def a_head_that_fits_has_started(self) -> None:
        """I6."""
        state = self.bench.state
        assert not state.queue or best_fit(state, state.queue[0]) is None

    @invariant()
    def nobody_is_passed_more_than_four_times(self) -> None:
        assert all(waiting.bypasses <= 4 for waiting in self.bench.state.queue)

    @invariant()
    def nobody_waits_and_runs(self) -> None:
        state = self.bench.state
        assert not {waiting.ticket_id for waiting in state.queue} & set(state.located)


TestMachine = Machine.TestCase
TestMachine.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
