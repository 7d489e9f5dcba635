"""The gate: what no trial is spent on."""

from mutants.safeguard import Edit, Safeguard

_GATE = ("swarm/gate/test_gate.py",)
_SCOPE = "swarm/gate/scope.py"


def _gate(name: str, what: str, *switch: Edit) -> Safeguard:
    return Safeguard(name, what, switch, _GATE, fast=True)


ROWS = (
    _gate(
        "gate-size",
        "a program that is too large is refused",
        Edit("swarm/gate/program.py", "    if size > MAX_BYTES or lines > MAX_LINES:\n", "    if False:\n"),
    ),
    _gate(
        "gate-edit-size",
        "an edit that is too large to tell its effect is refused",
        Edit("swarm/gate/check.py", "    if added + removed > MAX_CHANGED_LINES:\n", "    if False:\n"),
    ),
    _gate(
        "gate-contract",
        "a program without build_model, main and finish is refused",
        Edit(
            "swarm/gate/program.py", '_refusal("contract", _contract_problems(tree))', '_refusal("contract", iter(()))'
        ),
    ),
    _gate(
        "gate-imports",
        "imports outside of the list are refused",
        Edit(_SCOPE, "    if root not in _ALLOWED_MODULES:\n", "    if False:\n"),
    ),
    _gate(
        "gate-harness-names",
        "only the offered names of the harness may be imported",
        Edit(
            _SCOPE,
            '    if root in ("swarm", "models"):\n        return',
            '    if root in ("swarm", "models"):\n        return None\n        return',
        ),
    ),
    _gate(
        "gate-harness-attributes",
        "the harness's other modules are not reached through its offered ones",
        Edit(_SCOPE, " not in HARNESS_NAMES and name not in also_allowed:\n", " not in HARNESS_NAMES and False:\n"),
    ),
    _gate(
        "gate-star-imports",
        "an import of everything hides nothing",
        Edit(_SCOPE, '    if name.endswith(".*"):\n', "    if False:\n"),
    ),
    _gate(
        "gate-names",
        "files, code made at run time, native code and the network are not reached by name",
        Edit(
            _SCOPE,
            "    why = _why_not_name(name, also_allowed)\n    if why is not None:\n        yield node",
            "    why = None\n    if why is not None:\n        yield node",
        ),
    ),
    _gate(
        "gate-inner-attributes",
        "no way out by the interpreter's inner attributes",
        Edit(_SCOPE, "node.attr in _INNER_ATTRIBUTES:\n", "False:\n"),
    ),
    _gate(
        "gate-writes",
        "nothing that others share is assigned to",
        Edit(_SCOPE, "        yield from _write_problems(node, names)\n", ""),
    ),
    _gate(
        "gate-setattr",
        "nor through setattr and delattr",
        Edit(_SCOPE, 'func=ast.Name(id="setattr" | "delattr")', 'func=ast.Name(id="nothing")'),
    ),
    _gate(
        "gate-seeding",
        "nobody but the harness seeds",
        Edit("swarm/gate/program.py", '_refusal("seeding", seeding_problems(tree, names))', "None"),
    ),
    _gate(
        "gate-other-names-for-imports",
        "an import by another name is still that import",
        Edit(
            "swarm/gate/names.py",
            "yield (alias.asname, alias.name) if alias.asname else (top, top)",
            "yield (top, top)",
        ),
    ),
    _gate(
        "gate-no-change",
        "an edit that does nothing is refused",
        Edit("swarm/gate/check.py", "    if tree == parent_tree:\n", "    if False:\n"),
    ),
    _gate(
        "gate-duplicate",
        "a program that was tried is refused, whatever its parent",
        Edit("swarm/gate/novelty.py", "        if earlier.tree_sha256 == tree:\n", "        if False:\n"),
    ),
    _gate(
        "gate-near-duplicate",
        "constants within 5 % of what was tried are refused",
        Edit(
            "swarm/gate/novelty.py", "        if earlier.parent_tree_sha256 == parent_tree and", "        if False and"
        ),
    ),
    _gate(
        "gate-near-parent",
        "constants within 5 % of the parent's own are refused",
        Edit(
            "swarm/gate/novelty.py",
            "    if all(is_near(old, new) for old, new in changes.values()):\n",
            "    if False:\n",
        ),
    ),
)
