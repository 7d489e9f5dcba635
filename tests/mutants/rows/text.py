"""Text: what is shown of it, and who sees what is to be predicted."""

from mutants.safeguard import Edit, Safeguard

_BITS, _STAGE, _CORPUS = "swarm/harness/bits.py", "swarm/harness/stage_phase.py", "swarm/harness/corpus.py"
_TEXT, _OF_CORPUS = "harness/test_harness_text.py::", "harness/test_harness_corpus.py::"


def _row(name: str, what: str, file: str, old: str, new: str, *tests: str) -> Safeguard:
    return Safeguard(name, what, Edit(file, old, new), tests)


ROWS = (
    _row(
        "last-place-decides",
        "who is better just before a secret place because the rest of the text is there has no score",
        _BITS,
        "    if ahead.mean > max(ROUNDING_BITS[config.device], ERRORS * ahead.error):\n",
        "    if False:\n",
        f"{_TEXT}test_a_leak_that_is_weak_everywhere_is_found_out",
        f"{_TEXT}test_a_leak_that_hides_in_the_second_process_is_found_out",
    ),
    _row(
        "a-few-windows-are-enough",
        "a leak in a few windows is found out before it is certain on average",
        _BITS,
        "    if ahead.above > MOST_ROWS:\n",
        "    if False:\n",
        f"{_TEXT}test_a_leak_in_a_few_windows_is_found_out",
    ),
    _row(
        "first-bytes-keep-their-answers",
        "what follows a secret place changes no answer before it",
        _BITS,
        "    if too_many:\n",
        "    if False:\n",
        f"{_TEXT}test_what_lies_further_ahead_than_the_next_byte_is_seen_in_the_places_before",
    ),
    _row(
        "one-answer-a-window",
        "a prediction depends on its own window alone",
        _BITS,
        "    if too_many and company > MOST_ROWS:\n",
        "    if False:\n",
        f"{_TEXT}test_an_answer_that_depends_on_its_company_is_found_out",
    ),
    _row(
        "rare-leaks-are-charged",
        "what a leak wins below the limits is charged to the score",
        _BITS,
        "    if ahead.mean > ROUNDING_BITS[config.device]:\n",
        "    if False:\n",
        f"{_TEXT}test_a_leak_too_rare_to_be_certain_is_charged",
    ),
    _row(
        "cuts-are-secret",
        "where a window goes on otherwise is drawn anew for each trial, and nobody can know it",
        _STAGE,
        "    cuts = random.integers(1, window, count)\n",
        "    cuts = np.arange(count) % (window - 1) + 1\n",
        f"{_TEXT}test_the_target_of_the_last_place_is_never_shown_and_the_cuts_are_secret",
    ),
    _row(
        "text-behind-the-cut-replaced",
        "behind the secret place the second process sees other text",
        _STAGE,
        "    return np.where(np.arange(length) < cuts[:, None], windows, others)\n",
        "    return windows\n",
        f"{_TEXT}test_the_target_of_the_last_place_is_never_shown_and_the_cuts_are_secret",
        f"{_TEXT}test_who_sees_the_next_byte_is_found_out",
    ),
    _row(
        "last-target-not-shown",
        "the byte that follows a window is shown nowhere",
        _STAGE,
        "[:, -1 - WINDOW[config.device] : -1]\n",
        "[:, -WINDOW[config.device] :]\n",
        f"{_TEXT}test_the_target_of_the_last_place_is_never_shown_and_the_cuts_are_secret",
    ),
    _row(
        "rung-windows-without-targets",
        "a candidate reads the windows of the rungs without the byte that counts there",
        "swarm/harness/prepare_text.py",
        '    save(draft.rung_windows, held["rung"][:, :LONGEST])\n',
        '    save(draft.rung_windows, held["rung"])\n',
        f"{_OF_CORPUS}test_own_text_is_prepared_where_a_candidate_reads_its_training_part_alone",
    ),
    _row(
        "softmax-is-the-scorers",
        "a distribution that sums to more than one is worth nothing",
        _BITS,
        "cross_entropy(flat, wanted).reshape(",
        "(-flat[np.arange(len(flat)), wanted]).reshape(",
        f"{_TEXT}test_guessing_costs_eight_bits_and_no_distribution_sums_to_more_than_one",
    ),
    _row(
        "shape-of-text-answers",
        "logits of another shape than a byte's at each place have no score",
        "swarm/harness/predict_phase.py",
        '    if harness == "text" and logits.shape != (*shown, VOCABULARY):\n',
        "    if False:\n",
        f"{_TEXT}test_a_model_that_gives_no_logits_for_each_place_is_refused",
    ),
    _row(
        "package-not-installed",
        "held-out text that is installed where every trial can read it is refused",
        _CORPUS,
        "    if importlib.util.find_spec(_MODULE) is not None:\n",
        "    if False:\n",
        f"{_OF_CORPUS}test_a_package_that_every_trial_could_read_is_refused",
    ),
    _row(
        "package-by-its-checksum",
        "another file than the pinned one is no text to train on",
        _CORPUS,
        "    if found != SHA256:\n",
        "    if False:\n",
        f"{_OF_CORPUS}test_a_package_of_another_checksum_is_deleted_and_refused",
    ),
    _row(
        "split-by-document",
        "no document is on both sides of the split",
        _CORPUS,
        "            taken.append(ordered.pop(0))\n",
        "            taken.append(ordered[len(taken)])\n",
        f"{_OF_CORPUS}test_documents_are_split_whole_and_by_their_content",
    ),
    _row(
        "gate-carried-text",
        "a program brings no text or tables to answer from",
        "swarm/gate/carried.py",
        "    if total > MAX_CARRIED:\n",
        "    if False:\n",
        "swarm/gate/test_gate.py::test_a_program_that_brings_the_answers_is_refused",
    ),
    _row(
        "gate-read-docstrings",
        "docstrings that a program reads count as text that it brings",
        "swarm/gate/carried.py",
        "    docstrings = set() if _reads_docstrings(tree) else",
        "    docstrings =",
        "swarm/gate/test_gate.py::test_docstrings_and_comments_are_free_until_they_are_read",
    ),
)
