"""Admission: memory is reserved before it is used, and a lease outlives nobody."""

from mutants.safeguard import Edit, Safeguard

_CORE = "swarm/admission/test_admission_core.py::"
_CONTROLLER = "swarm/admission/test_admission_controller.py"
_PROCESSES = "swarm/admission/test_admission_processes.py::"
_MODEL = "swarm/admission/policy/model.py"
_SCHEDULING = "swarm/admission/policy/scheduling.py"
_RUNTIME = "swarm/admission/policy/runtime.py"


def _policy(name: str, what: str, file: str, old: str, new: str, *tests: str) -> Safeguard:
    return Safeguard(name, what, Edit(file, old, new), tuple(f"{_CORE}{test}" for test in tests))


ROWS = (
    _policy(
        "reservations-summed",
        "reservations on a device never exceed what it has",
        _MODEL,
        "self.usable_mib - self.foreign_mib - self.headroom_mib - self.committed_mib",
        "self.usable_mib - self.foreign_mib - self.headroom_mib",
        "test_two_jobs_of_the_original_run_fit_and_the_third_waits",
        "test_best_fit_takes_the_fullest_card_that_still_fits",
    ),
    _policy(
        "headroom",
        "a part of the device stays free",
        _MODEL,
        "        return base + sum(",
        "        return 0 * base + sum(",
        "test_foreign_memory_counts_at_once_and_is_forgotten_after_half_a_minute",
        "test_alone_waits_for_an_empty_card_and_keeps_it_to_itself",
    ),
    _policy(
        "foreign-memory",
        "what others use on the device is theirs",
        _MODEL,
        "self.usable_mib - self.foreign_mib - self.headroom_mib",
        "self.usable_mib - self.headroom_mib",
        "test_foreign_memory_counts_at_once_and_is_forgotten_after_half_a_minute",
    ),
    _policy(
        "measured-over-reserved",
        "a job that uses more than its reservation counts with what it uses",
        _MODEL,
        "        return max(self.reservation_mib, self.measured_mib)\n",
        "        return self.reservation_mib\n",
        "test_excess_that_keeps_the_head_waiting_is_killed",
    ),
    _policy(
        "draining-memory",
        "memory of a dead job counts until the driver shows it free",
        "swarm/admission/policy/core.py",
        "    if not device.returns_slowly or device.lost:\n        return",
        "    if True:\n        return",
        "test_memory_on_its_way_back_counts_once_and_is_not_foreign",
    ),
    _policy(
        "host-slots",
        "cores and RAM are part of a request",
        _SCHEDULING,
        "    if not state.free.covers(demand):\n        return None\n    first",
        "    first",
        "test_cpu_slots_and_ram_are_part_of_the_request",
    ),
    _policy(
        "bypass-limit",
        "the first in line is passed at most four times",
        _SCHEDULING,
        "        if shadow is not None and head.bypasses + len(grants) >= MAX_BYPASSES:\n",
        "        if False:\n",
        "test_a_head_is_passed_at_most_four_times",
    ),
    _policy(
        "bypass-harmless",
        "nobody passes who could delay the first in line",
        _SCHEDULING,
        "            if not _harmless(demand, device, shadow, now):\n",
        "            if False:\n",
        "test_backfill_passes_only_what_cannot_delay_the_head",
    ),
    _policy(
        "alone-is-alone",
        "who asked to be alone has no neighbour",
        _MODEL,
        " or any(hold.alone for hold in self.holds):\n",
        ":\n",
        "test_alone_stays_alone_when_others_leave",
    ),
    _policy(
        "lost-device-closed",
        "a device that does not answer takes no new job",
        _MODEL,
        "        if self.lost or len(self.holds)",
        "        if len(self.holds)",
        "test_a_lost_card_admits_nothing_kills_nothing_and_resumes_by_itself",
    ),
    _policy(
        "slot-fewer-after-ooms",
        "two lacks of device memory cost one slot",
        _MODEL,
        "        if len(self.throttles) < THROTTLE_AFTER:\n",
        "        if True:\n",
        "test_two_device_ooms_cost_one_slot_and_three_clean_runs_give_it_back",
        "test_the_kernels_oom_killer_costs_a_slot_where_the_device_is_ram",
    ),
    _policy(
        "slot-back-after-clean-runs",
        "three clean runs give the slot back",
        "swarm/admission/policy/core.py",
        "    if ending is Ending.CLEAN and device.throttles:\n",
        "    if False:\n",
        "test_two_device_ooms_cost_one_slot_and_three_clean_runs_give_it_back",
    ),
    _policy(
        "no-kill-for-a-spike",
        "nobody is killed for a moment",
        _RUNTIME,
        "    if len(window) < SAMPLES or now - window[0][0] < WINDOW_S or not window[-1][1]:\n",
        "    if not window or not window[-1][1]:\n",
        "test_only_a_lasting_excess_that_endangers_somebody_is_killed",
        "test_a_spike_of_half_a_second_kills_nobody",
    ),
    _policy(
        "no-kill-without-harm",
        "an excess that endangers nobody goes on",
        _RUNTIME,
        "    if others and device.free_mib < device.headroom_mib / 2:\n",
        "    if True:\n",
        "test_excess_that_harms_nobody_goes_on",
        "test_excess_of_a_lone_job_goes_on",
    ),
    _policy(
        "no-kill-without-attribution",
        "nobody is killed for memory that nobody can attribute",
        _RUNTIME,
        "    if device.attribution is not Attribution.MATCHED or device.lost:\n",
        "    if device.lost:\n",
        "test_nobody_is_killed_when_attribution_ends",
    ),
    _policy(
        "excess-killed",
        "a lasting excess that endangers a neighbour is ended",
        "swarm/admission/policy/core.py",
        "    return state, [Kill(hold.lease_id, reason) for hold, reason in suspects if reason is not None]\n",
        "    return state, []\n",
        "test_only_a_lasting_excess_that_endangers_somebody_is_killed",
        "test_excess_that_keeps_the_head_waiting_is_killed",
    ),
    _policy(
        "own-cap-is-the-trials-fault",
        "a lack of memory has an owner: own cap, device or host",
        "swarm/admission/policy/oom.py",
        "    return Ending.OWN_CAP if report.reserved_mib + _piece_mib(report.requested_mib) > allowed else Ending.DEVICE_OOM\n",
        "    return Ending.OWN_CAP\n",
        "test_an_out_of_memory_has_an_owner",
    ),
    _policy(
        "retries-bounded",
        "a trial that fits nowhere ends as infeasible",
        "swarm/admission/policy/oom.py",
        '    if attempt + 1 >= ATTEMPTS_AT_MOST:\n        return Infeasible(f"the device',
        '    if False:\n        return Infeasible(f"the device',
        "test_the_retry_ladder",
    ),
    Safeguard(
        "cap-on-the-child",
        "a trial's allocator is capped at its reservation",
        Edit(
            "swarm/admission/lease.py",
            '    options = [f"per_process_memory_fraction:{fraction:.6f}"]\n',
            "    options = []\n",
        ),
        (f"{_CONTROLLER}::test_a_lease_caps_its_child_by_uuid_and_fraction",),
    ),
    Safeguard(
        "one-device-seen",
        "a trial sees the device of its lease and no other",
        Edit("swarm/admission/lease.py", 'return {"CUDA_VISIBLE_DEVICES": uuid, ', "return {"),
        (f"{_CONTROLLER}::test_a_lease_caps_its_child_by_uuid_and_fraction",),
    ),
    Safeguard(
        "lease-is-a-lock",
        "the lease of a dead process is given to the next",
        Edit("swarm/admission/ledger/flock.py", "        return not try_lock(descriptor)\n", "        return True\n"),
        (f"{_CONTROLLER}::test_a_dead_tickets_place_is_given_to_the_next",),
    ),
    Safeguard(
        "lease-held-while-used",
        "a lease that a living process holds is nobody else's",
        Edit("swarm/admission/ledger/flock.py", "        return not try_lock(descriptor)\n", "        return False\n"),
        (f"{_CONTROLLER}::test_third_job_of_the_original_run_waits_and_says_for_whom",),
    ),
    Safeguard(
        "orphans-ended",
        "what a dead supervisor left behind on the device is ended",
        Edit("swarm/admission/ledger/ledger.py", "                    _end_orphans(lock, entry, now)\n", ""),
        (f"{_PROCESSES}test_orphans_of_a_dead_supervisor_are_killed_and_their_lease_is_reclaimed",),
    ),
    Safeguard(
        "flock-proven",
        "a file system without exclusion is refused",
        Edit("swarm/admission/ledger/flock.py", "            if try_lock(second):\n", "            if False:\n"),
        ("swarm/admission/test_admission_status.py::test_a_file_system_without_exclusion_is_refused",),
    ),
    Safeguard(
        "ledger-one-at-a-time",
        "one process at a time changes the ledger",
        Edit("swarm/admission/ledger/ledger.py", "            self._lock.acquire()\n", "            pass\n"),
        (
            f"{_PROCESSES}test_workers_in_processes_of_their_own_share_one_ledger",
            "swarm/admission/test_admission_status.py",
        ),
    ),
    Safeguard(
        "never-fits-refused",
        "what can never fit is refused at once",
        Edit(
            "swarm/admission/policy/core.py",
            "    if any(demand.memory_mib <= lone_room_mib(device) for",
            "    if any(True for",
        ),
        (f"{_CONTROLLER}::test_what_can_never_fit_is_refused_at_once",),
    ),
    Safeguard(
        "lifted-cap-alone",
        "code that has lifted its cap runs alone from then on",
        Edit(
            "swarm/admission/policy/predict.py",
            "replace(estimate, alone=any(history.has_lifted(device, code) for code in asked))",
            "replace(estimate, alone=False)",
        ),
        ("swarm/admission/test_admission_lifted_cap.py::test_the_code_and_its_children_run_alone_from_then_on",),
    ),
    Safeguard(
        "ram-beside-a-gpu",
        "RAM beside a GPU is reserved as the study's trials have held it",
        Edit(
            "swarm/execution/memory.py",
            "        host_ram_mib=_host_ram_mib(study, settings),\n",
            "        host_ram_mib=0,\n",
        ),
        ("swarm/execution/test_memory.py::test_ram_beside_a_gpu_is_reserved_as_the_largest_trial_has_held_it",),
    ),
    Safeguard(
        "lease-record-after-its-lock",
        "a kill at any point of a grant leaks nothing",
        Edit(
            "swarm/admission/ledger/ledger.py",
            "            if not is_held(lock):\n                lock.with_suffix",
            "            if False:\n                lock.with_suffix",
        ),
        (f"{_CONTROLLER}::test_a_dead_tickets_place_is_given_to_the_next",),
    ),
)
