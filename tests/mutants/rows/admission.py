"""Admission: memory is reserved before it is used, and a lease outlives nobody."""

from mutants.safeguard import Edit, Safeguard

_CORE = ("swarm/admission/test_admission_core.py",)
_CONTROLLER = "swarm/admission/test_admission_controller.py"
_PROCESSES = "swarm/admission/test_admission_processes.py::"
_MODEL = "swarm/admission/policy/model.py"
_SCHEDULING = "swarm/admission/policy/scheduling.py"
_RUNTIME = "swarm/admission/policy/runtime.py"


def _policy(name: str, what: str, file: str, old: str, new: str) -> Safeguard:
    return Safeguard(name, what, Edit(file, old, new), _CORE, fast=True)


ROWS = (
    _policy(
        "reservations-summed",
        "reservations on a device never exceed what it has",
        _MODEL,
        "self.usable_mib - self.foreign_mib - self.headroom_mib - self.committed_mib",
        "self.usable_mib - self.foreign_mib - self.headroom_mib",
    ),
    _policy(
        "headroom",
        "a part of the device stays free",
        _MODEL,
        "        return base + sum(",
        "        return 0 * base + sum(",
    ),
    _policy(
        "foreign-memory",
        "what others use on the device is theirs",
        _MODEL,
        "self.usable_mib - self.foreign_mib - self.headroom_mib",
        "self.usable_mib - self.headroom_mib",
    ),
    _policy(
        "measured-over-reserved",
        "a job that uses more than its reservation counts with what it uses",
        _MODEL,
        "        return max(self.reservation_mib, self.measured_mib)\n",
        "        return self.reservation_mib\n",
    ),
    _policy(
        "draining-memory",
        "memory of a dead job counts until the driver shows it free",
        "swarm/admission/policy/core.py",
        "    if not device.returns_slowly or device.lost:\n        return",
        "    if True:\n        return",
    ),
    _policy(
        "host-slots",
        "cores and RAM are part of a request",
        _SCHEDULING,
        "    if not state.free.covers(demand):\n        return None\n    first",
        "    first",
    ),
    _policy(
        "bypass-limit",
        "the first in line is passed at most four times",
        _SCHEDULING,
        "        if shadow is not None and head.bypasses + len(grants) >= MAX_BYPASSES:\n",
        "        if False:\n",
    ),
    _policy(
        "bypass-harmless",
        "nobody passes who could delay the first in line",
        _SCHEDULING,
        "            if not _harmless(demand, device, shadow, now):\n",
        "            if False:\n",
    ),
    _policy(
        "alone-is-alone",
        "who asked to be alone has no neighbour",
        _MODEL,
        " or any(hold.alone for hold in self.holds):\n",
        ":\n",
    ),
    _policy(
        "lost-device-closed",
        "a device that does not answer takes no new job",
        _MODEL,
        "        if self.lost or len(self.holds)",
        "        if len(self.holds)",
    ),
    _policy(
        "slot-fewer-after-ooms",
        "two lacks of device memory cost one slot",
        _MODEL,
        "        if len(self.throttles) < THROTTLE_AFTER:\n",
        "        if True:\n",
    ),
    _policy(
        "slot-back-after-clean-runs",
        "three clean runs give the slot back",
        "swarm/admission/policy/core.py",
        "    if ending is Ending.CLEAN and device.throttles:\n",
        "    if False:\n",
    ),
    _policy(
        "no-kill-for-a-spike",
        "nobody is killed for a moment",
        _RUNTIME,
        "    if len(window) < SAMPLES or now - window[0][0] < WINDOW_S or not window[-1][1]:\n",
        "    if not window or not window[-1][1]:\n",
    ),
    _policy(
        "no-kill-without-harm",
        "an excess that endangers nobody goes on",
        _RUNTIME,
        "    if others and device.free_mib < device.headroom_mib / 2:\n",
        "    if True:\n",
    ),
    _policy(
        "no-kill-without-attribution",
        "nobody is killed for memory that nobody can attribute",
        _RUNTIME,
        "    if device.attribution is not Attribution.MATCHED or device.lost:\n",
        "    if device.lost:\n",
    ),
    _policy(
        "excess-killed",
        "a lasting excess that endangers a neighbour is ended",
        "swarm/admission/policy/core.py",
        "    return state, [Kill(hold.lease_id, reason) for hold, reason in suspects if reason is not None]\n",
        "    return state, []\n",
    ),
    _policy(
        "own-cap-is-the-trials-fault",
        "a lack of memory has an owner: own cap, device or host",
        "swarm/admission/policy/oom.py",
        "    return Ending.OWN_CAP if report.reserved_mib + report.requested_mib > allowed else Ending.DEVICE_OOM\n",
        "    return Ending.OWN_CAP\n",
    ),
    _policy(
        "retries-bounded",
        "a trial that fits nowhere ends as infeasible",
        "swarm/admission/policy/oom.py",
        '    if attempt + 1 >= ATTEMPTS_AT_MOST:\n        return Infeasible(f"the device',
        '    if False:\n        return Infeasible(f"the device',
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
        fast=True,
    ),
    Safeguard(
        "one-device-seen",
        "a trial sees the device of its lease and no other",
        Edit("swarm/admission/lease.py", 'return {"CUDA_VISIBLE_DEVICES": uuid, ', "return {"),
        (f"{_CONTROLLER}::test_a_lease_caps_its_child_by_uuid_and_fraction",),
        fast=True,
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
        fast=True,
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
        fast=True,
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
        (f"{_CONTROLLER}::test_what_can_never_fit_is_refused_at_once", *_CORE),
        fast=True,
    ),
)
