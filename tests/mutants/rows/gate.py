"""The gate: what no trial is spent on."""

from mutants.safeguard import Edit, Safeguard

_GATE = "swarm/gate/test_gate.py::"
_SCOPE = "swarm/gate/scope.py"


def _gate(name: str, what: str, switch: Edit, *, tests: tuple[str, ...]) -> Safeguard:
    return Safeguard(name, what, switch, tuple(f"{_GATE}{test}" for test in tests))


ROWS = (
    _gate(
        "gate-size",
        "a program that is too large is refused",
        Edit("swarm/gate/program.py", "    if size > MAX_BYTES or lines > MAX_LINES:\n", "    if False:\n"),
        tests=("test_size_syntax_and_contract",),
    ),
    _gate(
        "gate-edit-size",
        "an edit that is too large to tell its effect is refused",
        Edit("swarm/gate/check.py", "    if added + removed > MAX_CHANGED_LINES:\n", "    if False:\n"),
        tests=("test_size_syntax_and_contract",),
    ),
    _gate(
        "gate-contract",
        "a program without build_model, main and finish is refused",
        Edit(
            "swarm/gate/program.py", '_refusal("contract", _contract_problems(tree))', '_refusal("contract", iter(()))'
        ),
        tests=("test_size_syntax_and_contract",),
    ),
    _gate(
        "gate-imports",
        "imports outside of the list are refused",
        Edit(_SCOPE, "    if root not in _ALLOWED_MODULES:\n", "    if False:\n"),
        tests=("test_what_a_program_may_not_reach_for",),
    ),
    _gate(
        "gate-harness-names",
        "only the offered names of the harness may be imported",
        Edit(_SCOPE, '        return f"only these names of', '        return None and f"only these names of'),
        tests=("test_what_a_program_may_not_reach_for",),
    ),
    _gate(
        "gate-harness-attributes",
        "the harness's other modules are not reached through its offered ones",
        Edit(_SCOPE, "(problem := not_offered(full, also_allowed)) is not None:", "(problem := None) is not None:"),
        tests=("test_the_modules_behind_the_harness_are_not_public",),
    ),
    _gate(
        "gate-star-imports",
        "an import of everything hides nothing",
        Edit(_SCOPE, '    if name.endswith(".*"):\n', "    if False:\n"),
        tests=("test_what_a_program_may_not_reach_for", "test_the_names_of_a_module_are_imported_one_by_one"),
    ),
    _gate(
        "gate-names",
        "files, code made at run time, native code and the network are not reached by name",
        Edit(
            _SCOPE,
            "    why = _why_not_name(name, also_allowed)\n    if why is not None:\n        yield node",
            "    why = None\n    if why is not None:\n        yield node",
        ),
        tests=("test_what_a_program_may_not_reach_for",),
    ),
    _gate(
        "gate-inner-attributes",
        "no way out by the interpreter's inner attributes",
        Edit(_SCOPE, " and attribute not in _DUNDERS:\n", " and False:\n"),
        tests=("test_what_a_program_may_not_reach_for",),
    ),
    _gate(
        "gate-writes",
        "nothing that others share is assigned to",
        Edit(_SCOPE, "        yield from _write_problems(node, names)\n", ""),
        tests=("test_what_a_program_may_not_reach_for",),
    ),
    _gate(
        "gate-setattr",
        "nor through setattr and delattr",
        Edit(_SCOPE, 'func=ast.Name(id="setattr" | "delattr")', 'func=ast.Name(id="nothing")'),
        tests=("test_what_a_program_may_not_reach_for",),
    ),
    _gate(
        "gate-seeding",
        "nobody but the harness seeds",
        Edit("swarm/gate/program.py", '_refusal("seeding", seeding_problems(tree, names))', "None"),
        tests=("test_the_harness_seeds_and_nobody_else",),
    ),
    _gate(
        "gate-other-names-for-imports",
        "an import by another name is still that import",
        Edit(
            "swarm/gate/names.py",
            "yield (alias.asname, alias.name) if alias.asname else (top, top)",
            "yield (top, top)",
        ),
        tests=(
            "test_what_a_program_may_not_reach_for",
            "test_the_harness_seeds_and_nobody_else",
        ),
    ),
    _gate(
        "gate-no-change",
        "an edit that does nothing is refused",
        Edit("swarm/gate/check.py", "    if tree == parent_tree:\n", "    if False:\n"),
        tests=("test_an_edit_without_an_effect_is_refused",),
    ),
    _gate(
        "gate-duplicate",
        "a program that was tried is refused, whatever its parent",
        Edit("swarm/gate/novelty.py", "        if earlier.tree_sha256 == tree:\n", "        if False:\n"),
        tests=("test_a_tried_program_is_refused_from_any_parent",),
    ),
    _gate(
        "gate-near-duplicate",
        "constants within 5 % of what was tried are refused",
        Edit(
            "swarm/gate/novelty.py", "        if earlier.parent_tree_sha256 == parent_tree and", "        if False and"
        ),
        tests=("test_a_value_within_five_percent_of_a_tried_one_is_refused",),
    ),
    _gate(
        "gate-near-parent",
        "constants within 5 % of the parent's own are refused",
        Edit(
            "swarm/gate/novelty.py",
            "    if all(is_near(old, new) for old, new in changes.values()):\n",
            "    if False:\n",
        ),
        tests=("test_a_value_next_to_the_parents_own_is_refused",),
    ),
    _gate(
        "gate-total",
        "whatever a check of a program raises is a refusal of it",
        Edit(
            "swarm/gate/check.py",
            "    answer = contained(lambda: _check(source, parent_source, tried, terms))\n",
            "    answer = _check(source, parent_source, tried, terms)\n",
        ),
        tests=("test_whatever_a_check_raises_is_a_refusal",),
    ),
    _gate(
        "gate-visible",
        "a program that looks other than it runs is refused",
        Edit("swarm/program/source.py", "    if hidden := {", "    if False and {"),
        tests=("test_a_program_that_looks_other_than_it_runs_is_refused",),
    ),
    _gate(
        "gate-utf-8",
        "a program with an encoding of its own is refused",
        Edit("swarm/program/source.py", "        if cookie is not None and", "        if False and"),
        tests=("test_an_encoding_of_its_own_is_refused",),
    ),
    _gate(
        "gate-compiles",
        "what the compiler refuses never reaches the device",
        Edit("swarm/program/source.py", '            compile(text, name, "exec", dont_inherit=True)\n', ""),
        tests=("test_what_the_compiler_refuses_never_reaches_the_device",),
    ),
    _gate(
        "gate-numbers",
        "a number that Python would not write is refused",
        Edit("swarm/program/source.py", "node.value.bit_length() > MAX_INT_BITS:", "False:"),
        tests=("test_a_number_that_python_would_not_write_is_refused",),
    ),
    _gate(
        "gate-few-constants",
        "an edit changes no more constants than a record can hold",
        Edit("swarm/gate/check.py", "    if len(changes) > MAX_CHANGED_CONSTANTS:\n", "    if False:\n"),
        tests=("test_constants_are_short_so_that_a_record_can_hold_them",),
    ),
)
