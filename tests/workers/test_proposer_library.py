"""The edit library on the two real programs: every edit applies somewhere, can be taken back, and trains."""

import ast
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from factories.briefings import attempt, briefing, view

from swarm import gate
from swarm.program import constants
from swarm.program.families import FAMILIES, family_of
from workers.proposers import ProposalFailed
from workers.proposers.library import EDITS, DoesNotApply, Edit, LibraryProposer, Program
from workers.proposers.library.edit import edit

MODELS = Path(__file__).parents[2] / "models"
TARGETS = ("resnext", "efficientnet")
SOURCES = {name: (MODELS / name / "train.py").read_text() for name in TARGETS}
APPLICABLE = [
    pytest.param(target, item, id=f"{target}-{item.name}")
    for target in TARGETS
    for item in EDITS
    if item.applies(SOURCES[target])
]
BY_NAME = {item.name: item for item in EDITS}


def test_the_library_is_broad():
    families = {item.family for item in EDITS}
    assert len(EDITS) >= 20
    assert len(families) >= 8
    assert families <= set(FAMILIES)
    for field in ("name", "description"):
        assert Counter(getattr(item, field) for item in EDITS).most_common(1)[0][1] == 1


def test_every_edit_applies_to_a_target():
    assert {param.values[1].name for param in APPLICABLE} == set(BY_NAME)
    assert min(Counter(param.values[0] for param in APPLICABLE).values()) >= 20


@pytest.mark.parametrize(("target", "item"), APPLICABLE)
def test_an_edit_passes_the_gate_and_keeps_the_comments(target, item):
    source = SOURCES[target]
    edited = item.apply(source)
    compile(edited, item.name, "exec")
    assert not isinstance(gate.check(edited, source, []), gate.Refusal)
    kept = set(edited.splitlines())
    comments = [line for line in source.splitlines() if line.lstrip().startswith("#") or '"""' in line]
    assert all(line in kept for line in comments)
    declared = constants.parse(edited)
    assert all(family_of(name) in FAMILIES for name in declared.keys() - constants.parse(source).keys())
    assert all(constant.space.contains(constant.value) for constant in declared.values() if constant.space is not None)


def test_a_model_without_a_name_is_left_alone():
    unnamed = "def build_model():\n    return Net()  # has self.classifier\n"
    with pytest.raises(DoesNotApply, match="return model"):
        BY_NAME["zero_init_classifier"].apply(unnamed)


@pytest.mark.parametrize(("target", "item"), APPLICABLE)
def test_an_edit_can_be_left_out_of_a_later_program(target, item, tmp_path):
    """The rollback of every edit: merging it backwards gives the program that only had the later edit."""
    source = SOURCES[target]
    later = BY_NAME["alternating_flip" if item.name != "alternating_flip" else "zero_init_classifier"]
    edited = item.apply(source)
    texts = {"ours": later.apply(edited), "base": edited, "theirs": source}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    command = ["git", "merge-file", "-p", "ours", "base", "theirs"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, later.apply(source))


@pytest.mark.parametrize("item", [item for item in EDITS if item.inverse], ids=lambda item: item.name)
def test_a_named_inverse_takes_an_edit_back(item):
    target = next(name for name in TARGETS if item.applies(SOURCES[name]))
    there = item.apply(SOURCES[target])
    back = BY_NAME[item.inverse].apply(there)
    changed = constants.changed(SOURCES[target], back)
    assert set(changed) <= {"MAX_LR", "WEIGHT_DECAY", "MOMENTUM", "BETA2"}
    if item.inverse not in ("sgd", "adamw"):
        assert changed == {}
        assert back == SOURCES[target]


def test_edits_combine():
    """One after the other, as a night of keeps would: whatever still applies leaves a valid program."""
    for target in TARGETS:
        source, applied = SOURCES[target], 0
        for item in EDITS:
            if item.applies(source):
                source, applied = item.apply(source), applied + 1
        compile(source, target, "exec")
        assert applied >= 20


def test_a_foreign_program_is_left_alone():
    for source in ("A = 1\n", "def main(:\n", "", "def main():\n    pass\n\n\ndef build_model():\n    return 1\n"):
        assert not any(item.applies(source) for item in EDITS)


def test_the_language_model_is_a_program_that_it_has_not_seen():
    """Whatever applies to models/gpt leaves a program that the gate takes; the others say that they do not apply."""
    source = (MODELS / "gpt" / "train.py").read_text()
    applied = 0
    for item in EDITS:
        try:
            edited = item.apply(source)
        except DoesNotApply:
            continue
        compile(edited, item.name, "exec")
        assert not isinstance(gate.check(edited, source, []), gate.Refusal), item.name
        applied += 1
    assert 3 <= applied < len(EDITS)


def test_muon_orthogonalises():
    """The singular values of what it steps along are near one, whatever those of the momentum were."""
    torch = pytest.importorskip("torch")
    tree = ast.parse(BY_NAME["muon"].apply(SOURCES["resnext"]))
    (function,) = [n for n in tree.body if isinstance(n, ast.FunctionDef) and n.name == "orthogonalised"]
    names: dict[str, object] = {"Tensor": torch.Tensor}
    exec(compile(ast.Module([function], []), "muon", "exec"), names)
    generator = torch.Generator().manual_seed(0)
    for shape in ((8, 32), (32, 8)):
        step = names["orthogonalised"](torch.randn(shape, generator=generator))
        values = torch.linalg.svdvals(step)
        assert step.shape == shape and values.min() > 0.6 and values.max() < 1.3


def test_an_edit_of_what_is_there_already_does_not_apply():
    again = {"narrower_deeper", "wider_shallower", "wider_in_more_groups", "smaller_batch", "larger_batch"}
    for item in EDITS:
        target = next(name for name in TARGETS if item.applies(SOURCES[name]))
        assert item.name in again or not item.applies(item.apply(SOURCES[target])), item.name


def test_an_edit_that_breaks_the_syntax_does_not_apply():
    @edit("broken", "loss", "breaks the syntax")
    def broken(program: Program) -> None:
        program.insert_before(program.tree.body[-1], "def (:\n")

    with pytest.raises(DoesNotApply, match="would break line"):
        broken.apply("A = 1\nB = 2\n")


def test_positions_are_bytes_and_not_characters():
    @edit("double", "loss", "doubles B")
    def double(program: Program) -> None:
        program.replace(program.statement("B = ", program.tree), "B = 4")

    assert double.apply('A = "häßlich"; B = 2  # größer\n') == 'A = "häßlich"; B = 4  # größer\n'


def told(attempts=(), **fields):
    return briefing(attempts, incumbent=view(SOURCES["resnext"]), **fields)


def tried(trial_id, item, standing="discarded", **fields):
    loss = None if standing in ("running", "failed") else 2.1
    details = {"operator": "structural", "family": item.family, "description": item.description, "standing": standing}
    return attempt(trial_id, {}, loss, **details, **fields)


def test_proposes_an_edit_of_the_incumbent():
    proposal = LibraryProposer().propose(told())
    item = next(item for item in EDITS if item.description == proposal.description)
    assert proposal.source == item.apply(SOURCES["resnext"])
    assert (proposal.operator, proposal.family, proposal.proposer) == ("structural", item.family, "library")
    assert proposal == LibraryProposer().propose(told())


def test_spreads_over_families_and_repeats_nothing():
    attempts, families = (), set()
    for number in range(30):
        proposal = LibraryProposer().propose(told(attempts, seed=number))
        assert proposal.description not in {a.description for a in attempts}
        families.add(proposal.family)
        item = next(item for item in EDITS if item.description == proposal.description)
        attempts += (tried(f"t{number + 2:04d}", item),)
        assert number == 0 or proposal.cites
    assert len(families) >= 8


def test_a_family_that_wins_is_asked_more_often():
    def share(family, outcome):
        attempts = tuple(
            attempt(f"t{n:04d}", {}, 1.9, family=family, standing=outcome, description=f"x{n}") for n in range(2, 12)
        )
        chosen = [LibraryProposer().propose(told(attempts, seed=seed)).family for seed in range(30)]
        return chosen.count(family)

    assert share("loss", "kept") > 20
    assert share("loss", "discarded") < 5


def test_cooled_families_rest_and_named_ones_are_preferred():
    for seed in range(10):
        cooled = LibraryProposer().propose(told(cooled_families=("schedule", "optimiser", "architecture"), seed=seed))
        assert cooled.family not in ("schedule", "optimiser", "architecture")
    plain = Counter(LibraryProposer().propose(told(seed=seed)).family for seed in range(40))
    named = Counter(
        LibraryProposer().propose(told(seed=seed, diagnosis="Families: averaging.")).family for seed in range(40)
    )
    assert named["averaging"] > plain["averaging"] + 5


def test_an_exhausted_library_says_so():
    two = [BY_NAME["mish"], BY_NAME["cutout"]]
    attempts = tuple(tried(f"t{number:04d}", item) for number, item in enumerate(two, start=2))
    with pytest.raises(ProposalFailed, match="library_exhausted"):
        LibraryProposer(two).propose(told(attempts))
    elsewhere = tuple(a.model_copy(update={"parent": "t0099"}) for a in attempts)
    assert LibraryProposer(two).propose(told(elsewhere)).description in {item.description for item in two}


@pytest.mark.slow
@pytest.mark.parametrize(("target", "item"), APPLICABLE)
def test_an_edited_program_trains(target: str, item: Edit, tmp_path):
    """A whole trial of a few steps: train, predict in a fresh process, score."""
    from swarm.harness.prepare import prepare
    from swarm.harness.run import Plan, run_trial
    from swarm.trial.config import WorkBudget

    folder = tmp_path / target
    shutil.copytree(MODELS / target, folder, ignore=shutil.ignore_patterns("__pycache__"))
    # Without the schedule's end the loss says nothing: a rate that fits six steps keeps every edit finite.
    source = re.sub(r"(?m)^MAX_LR = \S+", "MAX_LR = 1e-2", item.apply(SOURCES[target]))
    (folder / "train.py").write_text(source)
    small = {"BATCH_SIZE": "64"}
    plan = Plan(target=folder, budget=WorkBudget("samples", 6 * 64), constants=small)
    score = run_trial(plan, prepare("standin").layout, tmp_path / "trial")
    assert 1.0 < score["validation_loss"] < 12.0
