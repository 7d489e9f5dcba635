"""Targets that are not sealed: what a command leaves is data, what a grader has is out of reach, and guards decide."""

from mutants.safeguard import Edit, Safeguard

_GRADING = "swarm/grading/test_grading.py::"
_GUARDS = "swarm/verdict/test_guards.py::"
_SEVERAL = "swarm/program/test_several.py::"


def _row(name: str, what: str, file: str, old: str, new: str, *tests: str) -> Safeguard:
    return Safeguard(name, what, Edit(file, old, new), tests)


ROWS = (
    _row(
        "command-meets-nothing-private",
        "the copy of the folder that a command runs in has no private file",
        "swarm/execution/graded.py",
        "    hidden = (grading.private, grading.test_private, grading.test_inputs)\n",
        "    hidden = (grading.test_private, grading.test_inputs)\n",
        f"{_GRADING}test_the_command_meets_nothing_private_and_the_grader_nothing_that_was_edited",
    ),
    _row(
        "grader-imports-no-candidate",
        "no file that a candidate may have written lies where the grader runs",
        "swarm/execution/graded.py",
        "if not may_change(path, terms) and not _is_below(path, hidden)}",
        "if not _is_below(path, hidden)}",
        f"{_GRADING}test_the_command_meets_nothing_private_and_the_grader_nothing_that_was_edited",
    ),
    _row(
        "outputs-hold-no-objects",
        "an array of objects is not taken",
        "swarm/grading/arrays.py",
        "    if match is None:\n        raise",
        "    if False:\n        raise",
        f"{_GRADING}test_an_array_that_is_none_is_refused",
    ),
    _row(
        "outputs-as-declared",
        "an output of another shape than declared is not taken",
        "swarm/grading/outputs.py",
        "    if not fits:\n",
        "    if False:\n",
        f"{_GRADING}test_an_output_is_as_it_was_declared_or_not_there",
    ),
    _row(
        "grader-says-valid",
        "outputs that the grader calls invalid get no number",
        "swarm/grading/answer.py",
        '    if not fields["valid"]:\n',
        "    if False:\n",
        f"{_GRADING}test_what_a_grader_says_is_a_number_or_a_reason",
    ),
    _row(
        "self-report-flagged",
        "a trial whose number was printed says so",
        "swarm/execution/graded.py",
        'SELF_REPORTED: order.terms.grade == "self-reported"',
        "SELF_REPORTED: False",
        f"{_GRADING}test_a_self_reported_trial_is_flagged_as_one",
    ),
    _row(
        "items-where-noise-is-theirs",
        "a target whose noise is that of items gets no number without one for each",
        "swarm/grading/grade_phase.py",
        "    if config.needs_items and not answer.items:\n",
        "    if False:\n",
        f"{_GRADING}test_a_grader_that_breaks_gives_no_number_and_says_why",
    ),
    _row(
        "grader-alone-gets-variables",
        "no phase but the grader's gets the variables that a target asks for",
        "swarm/supervisor/environment.py",
        "        **_named(parent, phase.environment),\n",
        "        **_named(parent, tuple(parent)),\n",
        f"{_GRADING}test_a_grader_alone_gets_the_variables_it_asks_for_and_no_key_is_written",
    ),
    _row(
        "grader-hides-keys",
        "a key that a server repeats is in no log",
        "swarm/grading/grade_phase.py",
        "        beside = hide(read, config.environment, os.environ)\n",
        "        beside = read\n",
        f"{_GRADING}test_a_grader_alone_gets_the_variables_it_asks_for_and_no_key_is_written",
    ),
    _row(
        "grader-hides-keys-in-its-answer",
        "a key in a grader's answer is in no record",
        "swarm/grading/grade_phase.py",
        "return ended.returncode, hide(text, config.environment, os.environ), beside",
        "return ended.returncode, text, beside",
        f"{_GRADING}test_a_grader_alone_gets_the_variables_it_asks_for_and_no_key_is_written",
    ),
    _row(
        "grader-away",
        "a grader whose server is down blames no program",
        "swarm/grading/grade_phase.py",
        "    if code == AWAY:\n",
        "    if False:\n",
        f"{_GRADING}test_a_grader_that_cannot_work_now_blames_nobody",
    ),
    _row(
        "secret-by-split",
        "the hidden items of the search say nothing of those of the test split",
        "swarm/repo/secret.py",
        'f"{target}/{folder}") for folder',
        'f"{target}") for folder',
        "swarm/repo/test_secret.py::test_it_is_made_once_and_another_for_each_split_and_target",
    ),
    _row(
        "stand-in-by-name",
        "numbers of a stand-in for a model are called so",
        "swarm/orchestrator/data.py",
        "    if grading.stand_in_without and not environment.get(grading.stand_in_without):\n",
        "    if False:\n",
        "swarm/orchestrator/test_own_data.py::test_a_stand_in_is_called_one_wherever_its_numbers_stand",
    ),
    _row(
        "same-grader-on-resume",
        "a study does not go on with another model behind its grader",
        "swarm/orchestrator/data.py",
        "    if now != settings.dataset:\n",
        "    if False:\n",
        "swarm/orchestrator/test_own_data.py::test_a_study_does_not_go_on_with_another_grader",
    ),
    _row(
        "toml-is-toml",
        "a TOML file that is none costs no trial",
        "swarm/program/toml.py",
        "    except (tomllib.TOMLDecodeError, ValueError, RecursionError) as error:\n        raise TargetError(",
        "    except (tomllib.TOMLDecodeError, ValueError, RecursionError) as error:\n        return {}\n        raise TargetError(",
        f"{_SEVERAL}test_a_toml_file_is_what_its_values_are_and_one_that_is_none_is_refused",
    ),
    _row(
        "guard-keeps-from-leading",
        "a program that breaks a guard does not lead",
        "swarm/verdict/decisions.py",
        "leads=not broken and _leads(",
        "leads=_leads(",
        f"{_GUARDS}test_a_guard_is_judged_with_its_own_noise",
    ),
    _row(
        "guard-keeps-from-being-kept",
        "the finals keep no program whose guard fails there",
        "swarm/verdict/finals.py",
        "    decision, why = after_guards(guards, decision, why)\n",
        "",
        f"{_GUARDS}test_the_finals_keep_no_program_whose_guard_fails_there",
    ),
    _row(
        "guard-number-missing",
        "a guard whose number a run did not give does not hold",
        "swarm/verdict/guards.py",
        "        return Judged(guard, None, len(values), 0.0)\n",
        "        return Judged(guard, None, len(values), 1.0)\n",
        f"{_GUARDS}test_a_run_without_the_number_does_not_hold_its_guard",
    ),
    _row(
        "no-noise-is-not-certainty",
        "equal numbers do not make every change certain",
        "swarm/verdict/decisions.py",
        "NoiseFloor(max(noise.sigma, 0.5 * 10.0**-study.objective.digits), noise.degrees)",
        "noise",
        f"{_GUARDS}test_equal_numbers_do_not_make_every_change_certain",
    ),
    _row(
        "gate-globs",
        "a file that no glob names is neither changed nor made",
        "swarm/gate/files.py",
        "    if closed := [path for path in files if not may_change(path, terms)]:\n",
        "    if closed := []:\n",
        f"{_SEVERAL}test_the_gate_keeps_to_the_globs_and_the_limits",
    ),
    _row(
        "marks-stay-inside",
        "no mark of a file leads out of the target's folder",
        "swarm/program/several.py",
        '    if path.startswith("/") or any(piece in ("", ".", "..", ".git") for piece in pieces):\n',
        "    if False:\n",
        f"{_SEVERAL}test_no_mark_leads_out_of_the_folder",
    ),
)
