"""Replaying a list of changes: order, sharing between workers, refusals, the end, and lines that cannot be read."""

import json

import pytest
from factories.briefings import PROGRAM, attempt, briefing, view

from swarm import gate
from swarm.errors import UsageError
from swarm.program.constants import changed
from workers.proposers import ProposalFailed
from workers.proposers.scripted import ScriptedProposer


@pytest.fixture
def script(tmp_path):
    def write(*lines):
        path = tmp_path / "script.jsonl"
        path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
        return path

    return write


RATE = {"description": "a lower rate", "constants": {"MAX_LR": 0.005}}
MODEL = {"description": "no EMA", "edits": [{"search": "ACTIVATION, EMA", "replace": "ACTIVATION"}], "family": "head"}


def test_replays_constants_edits_and_sources_in_order(script):
    whole = {"description": "all new", "source": "A = 1\n", "operator": "recombine"}
    proposer = ScriptedProposer(script(RATE, "", MODEL, whole))
    first = proposer.propose(briefing())
    assert changed(PROGRAM, first.source) == {"MAX_LR": (0.01, 0.005)}
    assert (first.operator, first.family, first.parent) == ("tune", "optimiser", "t0001")
    done = (attempt("t0002", {"MAX_LR": 0.005}, description="a lower rate"),)
    second = proposer.propose(briefing(done))
    assert second.source == PROGRAM.replace("ACTIVATION, EMA", "ACTIVATION")
    assert (second.operator, second.family, second.cites) == ("structural", "head", ("t0002",))
    done += (attempt("t0003", {}, description="no EMA"),)
    third = proposer.propose(briefing(done))
    assert (third.source, third.operator) == ("A = 1\n", "recombine")
    done += (attempt("t0004", {}, description="all new"),)
    for _ in range(2):
        with pytest.raises(ProposalFailed, match="script_finished"):
            proposer.propose(briefing(done))


def test_a_line_claimed_by_another_worker_is_skipped(script):
    path = script(RATE, MODEL)
    claimed = (attempt("t0002", {"MAX_LR": 0.005}, description="a lower rate", agent_id="worker_2"),)
    assert ScriptedProposer(path).propose(briefing(claimed)).description == "no EMA"


def test_equal_descriptions_count_one_attempt_each(script):
    path = script(RATE, {**RATE, "constants": {"MAX_LR": 0.001}})
    claimed = (attempt("t0002", {"MAX_LR": 0.005}, description="a lower rate"),)
    assert changed(PROGRAM, ScriptedProposer(path).propose(briefing(claimed)).source)["MAX_LR"][1] == 0.001


def test_a_refused_line_is_passed_over(script):
    proposer = ScriptedProposer(script(RATE, MODEL))
    proposer.propose(briefing())
    assert proposer.propose(briefing(refusal="duplicate of t0009")).description == "no EMA"


def test_a_line_whose_claim_came_too_late_is_offered_once_more(script):
    proposer = ScriptedProposer(script(RATE, MODEL))
    offered = [proposer.propose(briefing()).description for _ in range(4)]
    assert offered == ["a lower rate", "a lower rate", "no EMA", "no EMA"]


@pytest.mark.parametrize("text", ["no such text", "MAX_LR"])
def test_an_edit_must_occur_once_and_the_script_goes_on(script, text):
    broken = {"description": "broken", "edits": [{"search": text, "replace": ""}]}
    proposer = ScriptedProposer(script(broken, RATE))
    with pytest.raises(ProposalFailed, match=r"edit_failed: line 1 .* and must occur once"):
        proposer.propose(briefing())
    assert proposer.propose(briefing()).description == "a lower rate"


def test_an_unknown_constant_fails_its_line_alone(script):
    proposer = ScriptedProposer(script({"description": "x", "constants": {"NO_SUCH": 1}}, RATE))
    with pytest.raises(ProposalFailed, match="edit_failed"):
        proposer.propose(briefing(incumbent=view()))
    assert proposer.propose(briefing()).description == "a lower rate"


@pytest.mark.parametrize(
    "line",
    [
        "{not json",
        "[1]",
        {"constants": {}},
        {"description": "x", "source": "a", "constants": {"A": 1}},
        {"description": "x", "operator": "replicate"},
        {"description": "x", "unknown": 1},
        {"description": "\x1b\u200b"},
        '{"description": "deep", "constants": {"A": ' + "[" * 5000 + "]" * 5000 + "}}",
        '{"description": "long", "constants": {"A": ' + "9" * 5000 + "}}",
    ],
    ids=range(9),
)
def test_a_bad_line_is_named(script, line):
    with pytest.raises(UsageError, match="line 2"):
        ScriptedProposer(script(RATE, line))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"nothing\.jsonl"):
        ScriptedProposer(tmp_path / "nothing.jsonl")


@pytest.mark.parametrize(
    "bad",
    [
        {"description": "bad", "source": 3},
        {"description": "bad", "edits": [{"search": "EMA", "replace": "\udfff"}]},
        {"description": "bad", "edits": [{"search": "nowhere", "replace": ""}]},
        {"description": "bad", "constants": {"NOT_THERE": 1}},
        {"description": "bad", "constants": {"MAX_LR": 1e999}},
    ],
    ids=range(5),
)
def test_a_text_that_no_program_can_be_is_a_bad_answer_and_the_next_line_follows(script, bad):
    proposer = ScriptedProposer(script(bad, RATE))
    with pytest.raises(ProposalFailed, match="line 1 of ") as caught:
        proposer.propose(briefing())
    assert (caught.value.code, caught.value.cooldown_s) == ("edit_failed", 0.0)
    assert proposer.propose(briefing()).description == "a lower rate"


def test_a_program_with_half_a_character_is_the_gates_to_refuse(script):
    path = script({"description": "bad", "source": f"{PROGRAM}X = '\ud800'\n"})
    answer = gate.check(ScriptedProposer(path).propose(briefing()).source, PROGRAM, [])
    assert isinstance(answer, gate.Refusal) and answer.code == "syntax"


def test_a_description_is_known_again_as_the_brain_has_it(script):
    hostile = {**RATE, "description": "a \x1b[31mlower\u200b rate"}
    claimed = (attempt("t0002", {"MAX_LR": 0.005}, description="a [31mlower rate"),)
    assert ScriptedProposer(script(hostile, MODEL)).propose(briefing(claimed)).description == "no EMA"
