"""Merging lineages and leaving kept edits out, with git's own three-way merge."""

import subprocess

import pytest
from factories.briefings import attempt, briefing, view

from swarm.errors import MergeConflict
from workers.proposers import ProposalFailed
from workers.proposers.recombine import ABLATE_EVERY, RecombineProposer, ablation_due

BASE = "A = 1\n\n\nB = 2\n\n\nC = 3\n\n\nD = 4\n"


@pytest.fixture
def merge(tmp_path):
    def run(base, ours, theirs):
        for name, text in (("base", base), ("ours", ours), ("theirs", theirs)):
            (tmp_path / name).write_text(text)
        command = ["git", "merge-file", "-p", "ours", "base", "theirs"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise MergeConflict("same lines")
        return done.stdout

    return run


SOURCES = {
    "t0001": BASE,
    "t0002": BASE.replace("A = 1", "A = 10"),
    "t0003": BASE.replace("A = 1", "A = 10").replace("B = 2", "B = 20"),
    "t0004": BASE.replace("C = 3", "C = 30"),
    "t0005": BASE.replace("A = 1", "A = 11"),
}


def program(trial_id, *lineage):
    return view(SOURCES[trial_id], trial_id, 1.9, lineage=lineage)


def tried(trial_id, **fields):
    return attempt(trial_id, {}, 1.9, operator="structural", description=f"edit {trial_id}", **fields)


LINE = (tried("t0002"), tried("t0003", parent="t0002"))
INCUMBENT = program("t0003", "t0001", "t0002")


def test_applies_another_lineage_to_the_incumbent(merge):
    told = briefing(
        (*LINE, tried("t0004", family="loss")), incumbent=INCUMBENT, alternatives=(program("t0004", "t0001"),)
    )
    proposal = RecombineProposer(merge, SOURCES.__getitem__).propose(told)
    assert proposal.source == SOURCES["t0003"].replace("C = 3", "C = 30")
    assert (proposal.operator, proposal.parent, proposal.family) == ("recombine", "t0003", "loss")
    assert proposal.cites == ("t0004", "t0003")
    assert proposal.merged == ("t0003", "t0004")
    assert proposal.expects == pytest.approx(-0.1)


def test_a_conflict_falls_through_to_the_next(merge):
    others = (program("t0005", "t0001"), program("t0004", "t0001"))
    told = briefing(incumbent=INCUMBENT, alternatives=others)
    assert "t0004" in RecombineProposer(merge, SOURCES.__getitem__).propose(told).description


OTHERS = tuple(tried(f"t{100 + index:04d}") for index in range(ABLATE_EVERY))


def test_leaves_one_edit_of_the_line_out_when_that_is_due(merge):
    told = briefing((*LINE, *OTHERS), incumbent=INCUMBENT, alternatives=(program("t0004", "t0001"),))
    proposal = RecombineProposer(merge, SOURCES.__getitem__).propose(told)
    assert proposal.operator == "ablate"
    assert proposal.source == BASE.replace("B = 2", "B = 20")
    assert proposal.cites == ("t0002", "t0003")
    assert proposal.merged == ()
    assert proposal.expects == pytest.approx(0.1)


def test_an_ablation_that_is_not_due_is_not_made(merge):
    with pytest.raises(ProposalFailed, match="nothing_to_combine"):
        RecombineProposer(merge, SOURCES.__getitem__).propose(briefing(LINE, incumbent=INCUMBENT))


def test_what_was_combined_before_is_not_combined_again(merge):
    alternatives = (program("t0004", "t0001"),)
    proposer = RecombineProposer(merge, SOURCES.__getitem__)
    attempts = (*LINE, *OTHERS)
    for number in range(2):
        proposal = proposer.propose(briefing(attempts, incumbent=INCUMBENT, alternatives=alternatives))
        again = attempt(f"t{number + 6:04d}", {}, description=proposal.description, operator=proposal.operator)
        attempts = (*attempts, again)
    with pytest.raises(ProposalFailed, match="nothing_to_combine"):
        proposer.propose(briefing(attempts, incumbent=INCUMBENT, alternatives=alternatives))


def test_an_ancestor_or_a_child_is_no_other_lineage(merge):
    alternatives = (program("t0002", "t0001"),)
    told = briefing(incumbent=program("t0002", "t0001"), alternatives=alternatives)
    with pytest.raises(ProposalFailed, match="nothing_to_combine"):
        RecombineProposer(merge, SOURCES.__getitem__).propose(told)


def test_a_program_whose_text_is_gone_is_passed_over(merge):
    told = briefing(incumbent=INCUMBENT, alternatives=(program("t0004", "t0001"),))
    with pytest.raises(ProposalFailed, match="nothing_to_combine"):
        RecombineProposer(merge, {"t0004": SOURCES["t0004"]}.__getitem__).propose(told)


def test_an_ablation_is_due_every_fifteen_proposals():
    assert not ablation_due(["tune"] * 14)
    assert ablation_due(["tune"] * 15)
    assert not ablation_due(["tune"] * 15 + ["ablate"] + ["tune"] * 14)
