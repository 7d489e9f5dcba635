"""Safeguards of a card: what a step costs on it, its peak, and what becomes of its trials when it is lost."""

from mutants.safeguard import Edit, Safeguard

_SPEED = "harness/test_harness_speed.py::"
_LOSSES = "harness/test_harness_losses.py::"
_SOLO = "harness/test_harness_solo.py::"


def _row(name: str, what: str, file: str, old: str, new: str, *tests: str) -> Safeguard:
    return Safeguard(name, what, Edit(file, old, new), tests)


_SEVERAL = "swarm/execution/test_several_cards.py::"
_CHOICE = "swarm/gpu/test_gpu_cards.py::"

ROWS = (
    _row(
        "compiler-may-fail",
        "a program that cannot be compiled trains as it is",
        "swarm/harness/compiling.py",
        "        except (*_FAILURES, torch._dynamo.exc.TorchDynamoException) as error:\n",
        "        except ZeroDivisionError as error:\n",
        f"{_SPEED}TestCompiler::test_what_does_not_compile_trains_as_it_is_and_says_why",
    ),
    _row(
        "compiler-leaves-no-trace",
        "trying the compiler changes no buffer of the model",
        "swarm/harness/compiling.py",
        "                buffer.copy_(before)\n",
        "                pass\n",
        f"{_SPEED}TestCompiler::test_what_compiles_is_called_and_leaves_no_trace_of_the_trial",
    ),
    _row(
        "evaluation-uncompiled",
        "an evaluation compiles nothing",
        "swarm/harness/loop.py",
        'torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()',
        "nullcontext()",
        f"{_SPEED}TestEvaluation::test_an_evaluation_compiles_nothing",
    ),
    _row(
        "evaluation-tries-no-algorithms",
        "the workspaces of algorithms tried in an evaluation are not in the peak",
        "swarm/harness/loop.py",
        "    torch.backends.cudnn.benchmark = False\n",
        "    pass\n",
        f"{_SPEED}TestEvaluation::test_no_algorithms_are_tried_in_an_evaluation",
    ),
    _row(
        "no-algorithms-tried",
        "no part of the budget goes into algorithms that cuDNN tries",
        "swarm/harness/session.py",
        "    torch.backends.cudnn.benchmark = False\n",
        "    torch.backends.cudnn.benchmark = True\n",
        f"{_SPEED}test_cudnn_tries_no_algorithms_unless_the_program_asks",
    ),
    _row(
        "short-budgets-uncompiled",
        "a compilation does not take all of a short budget",
        "swarm/harness/compiling.py",
        "    if reason := session.why_uncompiled():\n",
        '    if reason := "":\n',
        f"{_SPEED}TestBudgetTooShortToCompile",
    ),
    _row(
        "libraries-before-the-clock",
        "loading CUDA's libraries is not on a candidate's clock",
        "swarm/harness/session.py",
        "        load_libraries(self.device)\n",
        "",
        f"{_SPEED}test_libraries_are_loaded_before_the_candidate_is_on_the_clock",
    ),
    _row(
        "peak-without-the-warm-up",
        "what compiling and trying algorithms took is not in the peak",
        "swarm/harness/warmup.py",
        "    torch.cuda.reset_peak_memory_stats(device)\n",
        "",
        f"{_SPEED}TestWarmUp::test_what_the_warm_up_took_is_not_in_the_peak",
    ),
    _row(
        "losses-copied",
        "a loss in the static buffer of a CUDA graph keeps its value",
        "swarm/harness/losses.py",
        "loss.detach().clone()",
        "loss.detach()",
        f"{_LOSSES}test_a_loss_in_a_static_buffer_keeps_its_value",
    ),
    _row(
        "losses-not-waited-for",
        "a step that reports its loss does not wait for the device",
        "swarm/harness/losses.py",
        "        while self._sent and (len(self._sent) > MOST_GROUPS or self._sent[0][1].here()):\n",
        "        while self._sent:\n",
        f"{_LOSSES}test_nobody_waits_for_the_device_until_three_groups_are_on_their_way",
    ),
    _row(
        "warm-up-in-place",
        "a captured step still trains after the warm-up",
        "swarm/harness/warmup.py",
        "        if not former and _begins_with_zeros(optimizer):\n",
        "        if False:\n",
        f"{_SPEED}TestWarmUp::test_what_a_graph_has_captured_keeps_its_memory",
    ),
    _row(
        "drift-corrected",
        "a drift below the limit is corrected",
        "swarm/harness/solo.py",
        "        known.value = found\n",
        "        known.value = found if abs(drift) > DRIFT_LIMIT else known.value\n",
        f"{_SOLO}test_a_drift_below_the_limit_is_corrected_and_not_flagged",
    ),
    _row(
        "rechecks-by-lot",
        "no program can know when its price is checked",
        "swarm/harness/solo.py",
        "(low + lot() * (high - low)) * budget_s",
        "low * budget_s",
        f"{_SOLO}test_rechecks_come_at_moments_that_no_program_can_know",
    ),
    _row(
        "pairs-overlap",
        "runs that only met in passing are no pair",
        "swarm/compare/calibrate.py",
        "if _share_in_company(trial) >= PAIRED_SHARE]",
        "if _tenants(trial)]",
        "swarm/compare/test_calibrate.py::test_runs_that_only_met_in_passing_are_no_pair",
    ),
    _row(
        "lost-card-ends-its-trials",
        "a trial on a lost card is ended",
        "swarm/execution/local_trial.py",
        "self.stop_reason or watch.over_reservation or watch.lost_card\n",
        "self.stop_reason or watch.over_reservation\n",
        f"{_SEVERAL}test_a_trial_goes_where_it_fits_and_a_lost_card_ends_its_trials_only",
    ),
    _row(
        "lost-card-blames-no-program",
        "a program that died of its lost card is not blamed",
        "swarm/execution/local_trial.py",
        "        if watch.lost_card is not None and attempt.score is None:",
        "        if False:",
        f"{_SEVERAL}test_a_program_that_dies_of_its_lost_card_is_not_blamed",
    ),
    _row(
        "no-card-left-ends-it",
        "without a card left nothing waits for ever",
        "swarm/admission/ledger/snapshot.py",
        "    if not all(device.is_gone(now) for device in mine):\n",
        "    if True:\n",
        f"{_SEVERAL}test_without_a_card_left_nothing_waits_for_ever",
        f"{_SEVERAL}test_cards_that_are_not_there_any_more_end_the_study_too",
    ),
    _row(
        "study-keeps-to-its-cards",
        "a trial gets none but its study's cards",
        "swarm/admission/policy/model.py",
        "        return not self.cards or uuid in self.cards\n",
        "        return True\n",
        f"{_SEVERAL}test_a_study_keeps_to_its_cards",
    ),
    _row(
        "lost-card-in-the-policy",
        "the policy ends what runs on a lost card",
        "swarm/admission/policy/core.py",
        "    if (lost := gone(device, now)) is not None:\n",
        "    if (lost := None) is not None:\n",
        "swarm/admission/test_admission_core.py::test_what_runs_on_a_lost_card_is_ended_once_it_is_sure",
    ),
    _row(
        "one-model-a-study",
        "a study's cards are of one model",
        "swarm/gpu/cards.py",
        "    if len(models) > 1:\n",
        "    if False:\n",
        f"{_CHOICE}test_a_choice_that_makes_no_study_says_why",
    ),
    _row(
        "mig-refused",
        "a card divided by MIG is refused by name",
        "swarm/gpu/unsupported.py",
        "(divided := probe.divided_by_mig())",
        "(divided := ())",
        f"{_CHOICE}test_mig_is_refused_by_name_with_the_remedy",
    ),
    _row(
        "mps-refused",
        "an MPS server is refused by name",
        "swarm/gpu/unsupported.py",
        "    if pipe.exists():\n",
        "    if False:\n",
        f"{_CHOICE}test_an_mps_server_is_refused_by_name_with_the_remedy",
    ),
    _row(
        "amd-refused",
        "an AMD card is refused by name",
        "swarm/gpu/unsupported.py",
        '    if "+rocm" in version:\n',
        "    if False:\n",
        f"{_CHOICE}test_amd_is_refused_by_name_with_the_remedy",
    ),
    _row(
        "lost-card-left-out",
        "a worker that starts after a card was lost finds the others",
        "swarm/gpu/nvml.py",
        "        if lost is not None and not found:\n",
        "        if lost is not None:\n",
        f"{_CHOICE}test_a_worker_that_starts_after_a_card_was_lost_finds_the_others",
    ),
)
