"""Safeguards of a card: what a step costs on it, its peak, and what becomes of its trials when it is lost."""

from mutants.safeguard import Edit, Safeguard

_SPEED = "harness/test_harness_speed.py::"
_LOSSES = "harness/test_harness_losses.py::"
_SOLO = "harness/test_harness_solo.py::"


def _row(name: str, what: str, file: str, old: str, new: str, *tests: str) -> Safeguard:
    return Safeguard(name, what, Edit(file, old, new), tests)


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
        "probe-tries-no-algorithms",
        "the workspaces of algorithms tried in a probe are not in its peak",
        "swarm/harness/session.py",
        "    torch.backends.cudnn.benchmark = tries_algorithms\n",
        "    torch.backends.cudnn.benchmark = True\n",
        f"{_SPEED}test_only_a_training_tries_algorithms",
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
)
