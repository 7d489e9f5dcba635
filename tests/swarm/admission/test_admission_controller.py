"""The file-backed controller: ledger, tickets, leases, and what is said while one waits."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from factories.admission import ask, controller, granted
from fakes.fake_clock import FakeClock
from fakes.steady_probe import CARD, RAM, SteadyProbe

from swarm.admission import Ending, Infeasible, Lease, Observed, OomReport, Retry
from swarm.admission.ledger.entries import LeaseEntry, read_entry
from swarm.errors import NeverFits
from swarm.gpu import Attribution, ProcessUse


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def test_third_job_of_the_original_run_waits_and_says_for_whom(tmp_path: Path, clock: FakeClock) -> None:
    first, second, third = (controller(tmp_path, clock) for _ in range(3))
    held = [granted(first.request(ask("t0")))]
    clock.advance(1)
    held.append(granted(second.request(ask("t1"))))
    ticket = third.request(ask("t2"))
    assert ticket.poll() is None
    assert ticket.why == (
        "GPU 0 cannot hold 8200 MiB: 24564 total, 8200 leased by trial t0 of worker_1, "
        "8200 leased by trial t1 of worker_1, 464 reserved by the driver, 736 headroom"
    )
    held[0].release()
    lease = granted(ticket)
    assert lease.device == "GPU-a"
    assert lease.cotenants() == {"t1"}


def test_a_lease_caps_its_child_by_uuid_and_fraction(tmp_path: Path, clock: FakeClock) -> None:
    lease = granted(controller(tmp_path, clock).request(ask("t0")))
    assert lease.cap_mib == 8200 - 600
    assert lease.cap_fraction == pytest.approx(7600 / 24564)
    assert lease.env["CUDA_VISIBLE_DEVICES"] == "GPU-a"
    assert lease.env["PYTORCH_ALLOC_CONF"] == lease.env["PYTORCH_CUDA_ALLOC_CONF"]
    assert lease.env["PYTORCH_ALLOC_CONF"].startswith("per_process_memory_fraction:0.309396")


def test_what_can_never_fit_is_refused_at_once(tmp_path: Path, clock: FakeClock) -> None:
    with pytest.raises(NeverFits, match=r"cannot hold 25000 MiB, even alone: 24564 total.*at most 23364 MiB"):
        controller(tmp_path, clock).request(ask("t0", 25_000))
    assert not list((tmp_path / "tickets").iterdir())


def test_ram_of_the_machine_is_reserved_beside_the_card(tmp_path: Path, clock: FakeClock) -> None:
    """Of 64,000 MiB RAM; on a CPU the device itself is the RAM."""
    mine = controller(tmp_path, clock)
    held = granted(mine.request(ask("t0", 1000, host_ram_mib=40_000)))
    waiting = mine.request(ask("t1", 1000, host_ram_mib=30_000))
    assert waiting.poll() is None and "MiB RAM" in waiting.why
    held.release(Observed(peak_mib=100))
    assert isinstance(waiting.poll(), Lease)


def test_who_needs_more_ram_than_there_is_runs_without_neighbours(tmp_path: Path, clock: FakeClock) -> None:
    mine = controller(tmp_path, clock)
    granted(mine.request(ask("t0", 1000, host_ram_mib=80_000)))
    assert mine.request(ask("t1", 1000, host_ram_mib=1)).poll() is None


def test_a_withdrawn_ticket_gives_its_place_up(tmp_path: Path, clock: FakeClock) -> None:
    mine = controller(tmp_path, clock)
    granted(mine.request(ask("t0", 20_000)))
    ticket = mine.request(ask("t1"))
    assert ticket.poll() is None
    ticket.withdraw()
    ticket.withdraw()
    assert not list((tmp_path / "tickets").iterdir())


def test_a_dead_tickets_place_is_given_to_the_next(tmp_path: Path, clock: FakeClock) -> None:
    mine = controller(tmp_path, clock)
    granted(mine.request(ask("t0", 20_000)))
    big = mine.request(ask("t1", 23_000))
    small = mine.request(ask("t2", 3_300, walltime_limit_s=400.0))
    assert small.poll() is None
    assert "before it" in small.why
    os.close(big.descriptor)  # what the kernel does when its process dies
    assert isinstance(small.poll(), Lease)


def test_a_stopped_process_keeps_its_place_but_holds_nobody_up(tmp_path: Path, clock: FakeClock) -> None:
    mine = controller(tmp_path, clock)
    granted(mine.request(ask("t0", 20_000)))
    big = mine.request(ask("t1", 23_000))
    assert big.poll() is None
    clock.advance(31)
    assert isinstance(mine.request(ask("t2", 3_300)).poll(), Lease)
    assert big.poll() is None
    third = mine.request(ask("t3", 100))
    assert third.poll() is None or "t1" in third.why


def test_a_head_is_passed_four_times_though_it_looks_in_between(tmp_path: Path, clock: FakeClock) -> None:
    mine, other = (controller(tmp_path, clock) for _ in range(2))
    granted(mine.request(ask("running", 12_000)))
    head = mine.request(ask("head", 20_000))
    assert head.poll() is None
    passed = []
    for index in range(5):
        passed.append(other.request(ask(f"short{index}", 100, walltime_limit_s=10.0)).poll() is not None)
        assert head.poll() is None
    assert passed == [True, True, True, True, False]


def test_a_lasting_excess_that_endangers_a_neighbour_is_to_be_stopped(tmp_path: Path, clock: FakeClock) -> None:
    probe = SteadyProbe(CARD)
    mine = controller(tmp_path, clock, probe)
    greedy, neighbour = (granted(mine.request(ask(trial, 10_000))) for trial in ("greedy", "neighbour"))
    greedy.bind(os.getpid())
    probe.readings = (replace(CARD, free_mib=200, processes=(ProcessUse(os.getpid(), 15_900),)),)
    kills = []
    for _ in range(12):
        kills.append(greedy.poll())
        assert neighbour.poll() is None
        clock.advance(1)
    assert kills[:10] == [None] * 10
    assert kills[11] is not None and kills[11].lease_id == greedy.lease_id


def test_own_cap_climbs_the_ladder_to_infeasible(tmp_path: Path, clock: FakeClock) -> None:
    mine = controller(tmp_path, clock)
    request = ask("t0", 8200)
    report = OomReport(requested_mib=500, reserved_mib=7500, allowed_mib=7600)
    seen = []
    while True:
        lease = granted(mine.request(request))
        capped = replace(report, reserved_mib=lease.cap_mib - 100, allowed_mib=lease.cap_mib)
        released = lease.release(Observed(peak_mib=lease.cap_mib, out_of_memory=True, report=capped))
        assert released.ending is Ending.OWN_CAP
        clock.advance(11)
        if not isinstance(released.following, Retry):
            break
        request = request.again(released.following)
        seen.append((released.following.memory_mib, released.following.alone))
    assert seen == [(12352, False), (18560, False), (18624, True)]
    assert isinstance(released.following, Infeasible)


def test_device_oom_is_not_the_trials_fault(tmp_path: Path, clock: FakeClock) -> None:
    mine = controller(tmp_path, clock)
    lease = granted(mine.request(ask("t0")))
    report = OomReport(requested_mib=400, reserved_mib=3000, allowed_mib=7600, device_free_mib=100)
    released = lease.release(Observed(peak_mib=3000, out_of_memory=True, report=report))
    assert released.ending is Ending.DEVICE_OOM
    assert released.following == Retry(8200, False, 0)


def test_concurrency_falls_after_two_device_ooms_and_comes_back_by_itself(tmp_path: Path, clock: FakeClock) -> None:
    mine = controller(tmp_path, clock)
    for _ in range(2):
        pair = [granted(mine.request(ask(f"t{i}", 4000))) for i in range(2)]
        pair[0].release(Observed(out_of_memory=True, report=OomReport(10, 0, 3000, 0)))
        pair[1].release()
        clock.advance(11)
    for _ in range(3):
        only = granted(mine.request(ask("t9", 4000)))
        second = mine.request(ask("t8", 4000))
        assert second.poll() is None
        assert "takes 1 jobs for now, after 2 device out-of-memory events" in second.why
        second.withdraw()
        only.release(Observed(peak_mib=3000))
        clock.advance(11)
    assert all(mine.request(ask(f"t{i}", 4000)).poll() for i in range(2))


def test_prediction_comes_from_the_same_code_once_it_has_run(tmp_path: Path, clock: FakeClock) -> None:
    mine = controller(tmp_path, clock)
    first = mine.request(ask("t0", None, code_sha256="aa"))
    assert first.memory_mib == 11_136  # 0.45 of what a lone job may have, and the context
    granted(first).release(Observed(peak_mib=5482))
    clock.advance(11)
    again = mine.request(ask("t1", None, code_sha256="aa"))
    assert (again.prediction.source, again.memory_mib) == ("same_code", 7488)


@pytest.mark.parametrize(
    ("observed", "peak_mib"),
    [
        (Observed(peak_mib=4_000), 4_000),
        (Observed(peak_mib=4_000, failed=True), None),  # it may have died before its peak
        (Observed(peak_mib=6_000, failed=True), 6_000),  # it had passed the prediction before it died
        (Observed(peak_mib=4_000, host_oom=True, failed=True), None),
        (Observed(peak_mib=4_000, out_of_memory=True), 4_000),
        (Observed(peak_mib=4_000, alloc_retries=2), 4_224),  # at the edge: 5 % more, rounded up
    ],
)
def test_a_run_that_was_cut_short_teaches_only_what_it_proves(
    tmp_path: Path, clock: FakeClock, observed: Observed, peak_mib: int | None
) -> None:
    mine = controller(tmp_path, clock)
    lease = granted(mine.request(ask("t0", None, code_sha256="aa", profile_mib=5_000)))
    lease.release(observed)
    known = mine.predict(ask("t1", None, code_sha256="aa", profile_mib=5_000))
    assert (known.peak_mib, known.source) == ((5_000, "profile") if peak_mib is None else (peak_mib, "same_code"))


def test_an_adopted_run_teaches_and_climbs_the_ladder_as_any_other(tmp_path: Path, clock: FakeClock) -> None:
    mine = controller(tmp_path, clock)
    request = ask("t0", None, code_sha256="aa")
    full = OomReport(requested_mib=500, reserved_mib=7_500, allowed_mib=7_600)
    settled = mine.settle(request, 8_200, Observed(peak_mib=7_500, out_of_memory=True, report=full))
    assert (settled.ending, settled.following) == (Ending.OWN_CAP, Retry(12_352, False, 1))
    known = mine.predict(request)
    assert (known.peak_mib, known.source) == (8_000, "same_code")


def test_memory_of_a_dead_job_counts_until_the_driver_shows_it_free(tmp_path: Path, clock: FakeClock) -> None:
    probe = SteadyProbe(replace(CARD, free_mib=4100, attribution=Attribution.UNAVAILABLE))
    mine = controller(tmp_path, clock, SteadyProbe(replace(CARD, attribution=Attribution.UNAVAILABLE)))
    lease = granted(mine.request(ask("t0", 20_000)))
    other = controller(tmp_path, clock, probe)
    ticket = other.request(ask("t1", 20_000))
    mine_with_use = controller(tmp_path, clock, probe)
    lease._keeper = mine_with_use
    lease.release(Observed(peak_mib=19_000))
    assert ticket.poll() is None
    assert "20000 of trial t0 of worker_1 not yet returned" in ticket.why
    probe.readings = (replace(CARD, attribution=Attribution.UNAVAILABLE),)
    assert ticket.poll() is not None


def test_release_twice_changes_nothing(tmp_path: Path, clock: FakeClock) -> None:
    lease = granted(controller(tmp_path, clock).request(ask("t0")))
    assert lease.release(Observed(peak_mib=1)) == lease.release(None)


def test_cpu_lease_is_ram_without_a_context(tmp_path: Path, clock: FakeClock) -> None:
    mine = controller(tmp_path, clock, SteadyProbe(replace(RAM, total_mib=8000, free_mib=7000)))
    lease = granted(mine.request(ask("t0", 2000)))
    assert (lease.cap_mib, lease.cap_fraction, lease.env) == (2000, None, {"CUDA_VISIBLE_DEVICES": ""})
    lease.release()
    assert mine.request(ask("t1", 6000)).poll() is not None


def test_the_launch_gate_finds_the_hosts_pid_in_a_container(tmp_path: Path, clock: FakeClock) -> None:
    stranger = ProcessUse(2918331, 1_000)
    probe = SteadyProbe(replace(CARD, attribution=Attribution.UNMATCHED, processes=(stranger,)))
    mine = controller(tmp_path, clock, probe)
    lease = granted(mine.request(ask("t0")))
    with lease.launching():
        both = (stranger, ProcessUse(2918402, 5_000))
        probe.readings = (replace(CARD, free_mib=18_100, attribution=Attribution.UNMATCHED, processes=both),)
    assert lease.poll() is None
    entry = read_entry(tmp_path / "GPU-a" / "leases" / f"{lease.lease_id}.json", LeaseEntry)
    assert entry is not None
    assert (entry.host_pid, entry.hold.measured_mib) == (2918402, 5_000)


def test_a_launch_that_never_shows_up_lets_the_next_one_in(tmp_path: Path, clock: FakeClock) -> None:
    lease = granted(controller(tmp_path, clock).request(ask("t0")))
    with lease.launching(settle_s=3.0):
        pass
    assert clock.monotonic() == pytest.approx(3.0, abs=0.3)
