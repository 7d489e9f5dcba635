"""A card that trials can really use: the driver's needs in the sandbox, compiling, detection, memory, tenants."""

from mutants.safeguard import Edit, Safeguard

_LISTS = "swarm/sandbox/test_cuda_lists.py::"
_COMPILE = "harness/test_harness_compile.py::"
_UNUSABLE = "swarm/gpu/test_unusable.py::"
_VISIBLE = "swarm/gpu/test_visible.py::"
_USABLE = "swarm/admission/test_usable.py::"
_TENANTS = "swarm/admission/test_admission_tenants.py::"
_OPENED = f"{_LISTS}test_everything_that_a_start_of_cuda_opens_can_be_opened"
_CALLED = f"{_LISTS}test_every_call_that_cuda_makes_is_let_through"


def _row(name: str, what: str, file: str, old: str, new: str, *tests: str) -> Safeguard:
    return Safeguard(name, what, Edit(file, old, new), tests)


def _path(name: str, text: str) -> Safeguard:
    """A path that is taken out of the policy."""
    return _row(f"cuda-opens-{name}", f"CUDA opens {name}", "swarm/sandbox/policy.py", text, "", _OPENED)


ROWS = (
    _path("driver-facts", '"/proc/driver/nvidia", '),
    _path("uvm-facts", '"/proc/driver/nvidia-uvm", '),
    _path("least-address", '    "/proc/sys/vm/mmap_min_addr", "/proc/sys/vm/max_map_count",\n'),
    _path("modules", '"/proc/modules", '),
    _path("devices", '"/proc/devices", '),
    _path("bus", '"/sys/bus", '),
    _row(
        "cuda-nodes",
        "CUDA opens the nodes of the driver, tools and capabilities included",
        "swarm/sandbox/policy.py",
        'sorted(dev.glob("nvidia*"))',
        'sorted(dev.glob("nvidia[0-9c]*"))',
        _OPENED,
    ),
    _row(
        "cuda-names-threads",
        "drivers from 570 on name their threads",
        "swarm/sandbox/landlock.py",
        "        if policy.gpu:\n            _allow(ruleset, (_THREADS,), handled & _NAME_THREADS)\n",
        "",
        _OPENED,
    ),
    _row(
        "cpu-names-no-threads",
        "a trial on the CPU writes nothing of its own process",
        "swarm/sandbox/landlock.py",
        "        if policy.gpu:\n            _allow(",
        "        if True:\n            _allow(",
        f"{_LISTS}test_a_trial_on_the_cpu_names_no_threads_and_sees_no_driver",
    ),
    _row(
        "own-process-held",
        "what a process may read of itself it may read when memory is short, too",
        "swarm/sandbox/landlock.py",
        "        _hold_own_process()\n",
        "",
        f"{_LISTS}test_its_own_entries_in_proc_are_held_open",
    ),
    _row(
        "cuda-socket",
        "CUDA binds and listens at a socket of its own",
        "swarm/sandbox/calls.py",
        '    ("bind", 49, 200), ("listen", 50, 201), ("pidfd_open", 434, 434),\n',
        '    ("pidfd_open", 434, 434),\n',
        _CALLED,
    ),
    _row(
        "cuda-memory-files",
        "drivers from 570 on make memory files",
        "swarm/sandbox/calls.py",
        '    ("memfd_create", 319, 279), ("mlock"',
        '    ("mlock"',
        _CALLED,
    ),
    _row(
        "closed-node-costs-a-rung",
        "a node that another user may not open costs a rung, and not the trial",
        "swarm/sandbox/ladder.py",
        "by_path=by_path, write=True)",
        "by_path=by_path)",
        f"{_LISTS}test_a_node_that_others_may_not_open_costs_a_rung_and_not_the_trial",
    ),
    _row(
        "compile-needs-a-compiler",
        "without a compiler a program runs as it is written, and says so",
        "swarm/harness/compiler.py",
        "        dynamo.config.disable = True\n",
        "",
        f"{_COMPILE}test_without_a_compiler_the_program_runs_as_it_is_written_and_says_so",
    ),
    _row(
        "compile-may-fail",
        "what torch cannot compile runs uncompiled",
        "swarm/harness/compiler.py",
        "    dynamo.config.suppress_errors = True\n",
        "",
        f"{_COMPILE}test_what_torch_cannot_compile_runs_uncompiled_and_says_so",
    ),
    _row(
        "compile-caches-in-scratch",
        "what a trial compiles no other trial meets",
        "swarm/supervisor/environment.py",
        "        **caches,\n",
        "",
        f"{_COMPILE}test_everything_that_is_compiled_is_kept_in_scratch",
    ),
    _row(
        "compile-moves-nothing",
        "Triton's cache works where no file may be moved to another folder",
        "swarm/harness/triton_cache.py",
        '        draft = place.with_name(f".{uuid.uuid4().hex}")\n',
        '        draft = place.parent / uuid.uuid4().hex / "draft"\n        draft.parent.mkdir()\n',
        f"{_COMPILE}test_triton_keeps_what_it_compiles_where_nothing_may_be_moved",
    ),
    _row(
        "free-minute-for-compiling",
        "the free minute on a GPU is for compiling, and trains nothing",
        "swarm/harness/budget.py",
        "        free_s = min(self._free_s, FREE_BUILD_S + self._compiled_s())\n",
        "        free_s = self._free_s\n",
        f"{_COMPILE}test_the_free_minute_on_a_gpu_is_for_compiling_and_not_for_training",
    ),
    _row(
        "free-minute-for-compiling-shared",
        "nor on a shared one",
        "swarm/harness/solo.py",
        "        self._free_s = min(self._free_setup_s, FREE_BUILD_S + self._compiled_s())\n",
        "        self._free_s = self._free_setup_s\n",
        f"{_COMPILE}test_the_free_minute_on_a_gpu_is_for_compiling_and_not_for_training",
    ),
    _row(
        "compiler-on-the-budget",
        "on a CPU a compiler is on the budget",
        "swarm/harness/budget.py",
        "    return time.process_time() + ended.ru_utime + ended.ru_stime\n",
        "    return time.process_time()\n",
        f"{_COMPILE}test_a_compiler_on_the_cpu_is_on_the_budget",
    ),
    _row(
        "first-step-compiles",
        "the first step may take three minutes",
        "swarm/supervisor/phase.py",
        "self._has_stepped = self._has_stepped or beat.step > 0",
        "self._has_stepped = True",
        "swarm/supervisor/test_supervisor.py::test_the_first_step_may_take_three_times_as_long",
    ),
    _row(
        "driver-waited-for",
        "a driver that wakes its card first is waited for",
        "swarm/gpu/nvml.py",
        "        first = _Caller(first_timeout_s)\n",
        "        first = self._caller\n",
        f"{_UNUSABLE}test_a_driver_that_wakes_its_card_first_is_waited_for",
    ),
    _row(
        "no-cpu-unasked",
        "a card that fails is never answered with the CPU",
        "swarm/gpu/nvml.py",
        "            if sign := signs():\n                raise no_answer(",
        "            if (sign := signs()) and False:\n                raise no_answer(",
        f"{_UNUSABLE}test_auto_never_takes_the_cpu_beside_a_card_that_fails",
    ),
    _row(
        "card-tried-outside",
        "a card that does not compute is an error before a study",
        "swarm/admission/selftest/usable.py",
        "    if (problem := why_unusable(outside, driver)) is not None:\n        raise problem\n",
        "",
        f"{_USABLE}test_a_card_that_does_not_work_is_an_error",
    ),
    _row(
        "card-tried-inside",
        "and so is one that computes outside of the sandbox only",
        "swarm/admission/selftest/usable.py",
        "    if inside.error:\n",
        "    if False:\n",
        f"{_USABLE}test_a_card_that_works_outside_only_is_an_error",
    ),
    _row(
        "compute-mode",
        "a card that admits one process is refused",
        "swarm/admission/selftest/usable.py",
        "        if mode := probe.compute_mode(card.uuid):\n",
        '        if mode := "":\n',
        f"{_USABLE}test_a_card_that_admits_one_process_is_refused_by_its_mode",
    ),
    _row(
        "visible-cards-only",
        "cards that CUDA_VISIBLE_DEVICES hides are not measured",
        "swarm/gpu/nvml.py",
        "for uuid in visible(cards, self._environment):\n",
        "for uuid, _ in cards:\n",
        f"{_VISIBLE}test_the_probe_reads_the_visible_cards_only_and_a_trial_is_told_one_by_its_uuid",
    ),
    _row(
        "visible-up-to-the-first-unknown",
        "an entry that names no card hides all after it, as in CUDA",
        "swarm/gpu/visible.py",
        "            break\n",
        "            continue\n",
        f"{_VISIBLE}test_it_shows_what_cuda_shows",
    ),
    _row(
        "torch-not-too-old",
        "a torch that is too old is named before a study",
        "swarm/version.py",
        "        if _numbers(version) < _numbers(least):\n",
        "        if False:\n",
        "swarm/cli/test_extras.py::test_a_library_that_is_too_old_is_named_with_the_least_that_will_do",
    ),
    _row(
        "memory-of-libraries",
        "a library without memory is a lack of memory, and no crash",
        "swarm/harness/memory_errors.py",
        '    (r"CUBLAS_STATUS_ALLOC_FAILED|CUBLAS_STATUS_NOT_INITIALIZED", "device"),\n',
        "",
        "harness/test_harness_memory_errors.py::test_each_text_has_its_class",
    ),
    _row(
        "memory-in-predict",
        "nor is a lack of memory in a prediction",
        "swarm/harness/predict_phase.py",
        "    with reported(config, answers.with_name(config.folder.oom_report.name)):\n        return",
        "    if True:\n        return",
        "harness/test_harness_phases.py::test_out_of_memory_in_a_prediction_is_one",
    ),
    _row(
        "memory-near-the-cap",
        "a lack just below the cap is the trial's own",
        "swarm/admission/policy/oom.py",
        "report.reserved_mib + _piece_mib(report.requested_mib) > allowed",
        "report.reserved_mib + report.requested_mib > allowed",
        "swarm/admission/test_admission_core.py::test_an_out_of_memory_has_an_owner",
    ),
    _row(
        "memory-teaches",
        "a training that ran out of memory teaches how much it wanted",
        "swarm/admission/policy/ended_run.py",
        "        if observed.peak_mib is None and report is None:\n",
        "        if observed.peak_mib is None:\n",
        "swarm/admission/test_admission_core.py::test_a_lack_of_memory_teaches_what_was_held_and_asked_for",
    ),
    _row(
        "tenants-fit-the-walltime",
        "no more trials share a card than their walltime limits are good for",
        "swarm/admission/policy/model.py",
        "        most = min(self.concurrency_limit, self.tenants_limit)\n",
        "        most = self.concurrency_limit\n",
        f"{_TENANTS}test_no_more_are_let_in_than_those_who_are_there_can_wait_for",
    ),
    _row(
        "tenants-as-many-as-workers",
        "a study's limit is good for all of its workers",
        "swarm/records/values.py",
        "self.amount * tenants + BESIDE_TRAINING_S",
        "self.amount + BESIDE_TRAINING_S",
        f"{_TENANTS}test_a_study_has_a_limit_that_is_long_enough_for_its_workers",
    ),
)
