"""What a target makes once per machine, and the experts' target: a plan is data, and what is counted exists."""

from mutants.safeguard import Edit, Safeguard

_PREPARING = "swarm/orchestrator/test_preparing.py::"
_EXPERTS = "harness/test_target_experts.py::"
_GRADE = "models/experts/grading/grade.py"
_READING = "models/experts/grading/reading.py"


def _row(name: str, what: str, file: str, old: str, new: str, *tests: str) -> Safeguard:
    return Safeguard(name, what, Edit(file, old, new), tests)


ROWS = (
    _row(
        "prepared-once",
        "two processes at once make what a target needs once",
        "swarm/orchestrator/preparing.py",
        '    with _locked(place.with_suffix(".lock"), target.prepare.limit_s, say):\n',
        "    if True:\n",
        f"{_PREPARING}test_whoever_comes_second_waits_for_the_first",
    ),
    _row(
        "prepared-whole",
        "what was half made is deleted",
        "swarm/orchestrator/preparing.py",
        "        remove_tree(building)\n        remove_tree(result)\n",
        "        pass\n",
        f"{_PREPARING}test_what_fails_is_said_and_leaves_nothing",
    ),
    _row(
        "prepared-by-no-candidate",
        "no file that a program may change has a say in what is prepared",
        "swarm/orchestrator/preparing.py",
        "matches(path, target.prepare.files) and not may_change(path, target.terms)",
        "matches(path, target.prepare.files)",
        f"{_PREPARING}test_it_is_made_once_and_again_when_what_makes_it_changes",
    ),
    _row(
        "prepared-limited",
        "a preparation that takes too long is killed",
        "swarm/orchestrator/preparing.py",
        "    timer.start()\n",
        "",
        f"{_PREPARING}test_what_takes_too_long_is_killed_with_its_children",
    ),
    _row(
        "prepared-unchanged",
        "a study goes on with nothing but what it began with",
        "swarm/execution/prepared.py",
        "    if content_sha256(made) != settings.prepared_sha256:\n",
        "    if False:\n",
        f"{_PREPARING}test_what_is_not_as_it_was_made_is_made_again",
    ),
    _row(
        "experts-bytes",
        "a smaller model above the limit gets no number",
        _GRADE,
        "    if size > limit:\n",
        "    if False:\n",
        f"{_EXPERTS}test_a_plan_of_all_experts_is_the_whole_model_and_is_too_large",
    ),
    _row(
        "experts-share-nothing",
        "tensors that share memory are not counted as two or as one",
        _GRADE,
        "        if tensor.base is not None or any(",
        "        if False and any(",
        f"{_EXPERTS}test_tensors_that_share_memory_are_refused",
    ),
    _row(
        "experts-used-once",
        "an expert goes into one new expert, once",
        _READING,
        "    if doubled := [one for one in used if used.count(one) > 1]:\n",
        "    if doubled := []:\n",
        f"{_EXPERTS}test_a_plan_that_breaks_a_rule_is_refused_in_words",
    ),
    _row(
        "experts-whole-numbers",
        "a plan has whole numbers within their limits and nothing else",
        _READING,
        "    if type(content) is not int or not low <= content <= high:\n",
        "    if False:\n",
        f"{_EXPERTS}test_a_plan_that_breaks_a_rule_is_refused_in_words",
    ),
    _row(
        "experts-no-weights",
        "a plan carries nothing beside its keys",
        _READING,
        "    if strange := sorted(set(content) - keys):\n",
        "    if strange := []:\n",
        f"{_EXPERTS}test_a_plan_that_breaks_a_rule_is_refused_in_words",
    ),
    _row(
        "experts-room",
        "no more experts are resident than there is room for",
        _READING,
        "    if pinned > shape.places - FREE_PLACES:\n",
        "    if False:\n",
        f"{_EXPERTS}test_a_plan_that_breaks_a_rule_is_refused_in_words",
    ),
)
