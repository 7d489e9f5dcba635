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
