"""The OpenAI proposer against a real loopback server: how an answer becomes a proposal, or does not."""

import json
from typing import ClassVar

import pytest
from factories.briefings import PROGRAM, attempt, briefing
from fakes.fake_clock import FakeClock
from fakes.fake_llm import FakeLLM, Raw, Step, completion, envelope, tune_a_constant
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.errors import UsageError
from swarm.program import constants
from swarm.records import Operator, Proposal
from workers.proposers import ProposalFailed
from workers.proposers.edits import EditFailed
from workers.proposers.openai_api import OpenAIProposer
from workers.proposers.reply import read_envelope, read_schema, to_proposal
from workers.redact import Redactor

GOOD = envelope("CLASSES = 100", "CLASSES = 10", hypothesis="fewer")
MISS = envelope("MAX_LR = 2e-2", "MAX_LR = 3e-2")


def proposer(server: FakeLLM, **options: object) -> OpenAIProposer:
    defaults = {"model": "fake", "base_url": server.url, "key": "sk-test-key-123456789", "clock": FakeClock()}
    return OpenAIProposer(**{**defaults, **options})  # type: ignore[arg-type]


def ask(*script: Step, told: object = None, **options: object) -> tuple[Proposal, FakeLLM]:
    with FakeLLM(script) as server:
        return proposer(server, **options).propose(told or briefing()), server  # type: ignore[arg-type]


def blocks(search: str, replace: str) -> str:
    return envelope(search, replace).split("```\n\n")[1]


def test_a_real_edit_becomes_a_proposal_with_every_field_of_its_header():
    old, new = "DROPOUT = 0.0  # search: linear(0, 0.4)", "DROPOUT = 0.2  # search: linear(0, 0.4)"
    header = {"family": "Regularization", "cites": ["t0002", "t0002"], "expects": -0.03}
    answer = envelope(old, new, hypothesis="less overfitting", **header)
    proposal, server = ask(answer)
    assert proposal.source == constants.assign(PROGRAM, {"DROPOUT": 0.2})
    assert (proposal.description, proposal.family, proposal.expects) == ("less overfitting", "regularisation", -0.03)
    assert (proposal.operator, proposal.parent, proposal.cites) == (Operator.TUNE, "t0001", ("t0002",))
    assert proposal.proposer == "openai:fake"
    assert proposal.usage is not None
    assert (proposal.usage.input_tokens, proposal.usage.output_tokens, proposal.usage.calls) == (1000, 200, 1)
    assert [m["role"] for m in server.requests[0].body["messages"]] == ["system", "user"]
    assert "response_format" not in server.requests[0].body


def test_an_endless_source_of_edits_gives_real_programs():
    proposal, _ = ask(tune_a_constant)
    assert list(constants.changed(PROGRAM, proposal.source)) != []


def test_a_near_miss_gets_one_repair_turn_that_quotes_the_real_lines():
    good = envelope("MAX_LR = 1e-2  # search: log(1e-4, 1e-1)", "MAX_LR = 3e-2  # search: log(1e-4, 1e-1)")
    proposal, server = ask(MISS, good)
    assert constants.changed(PROGRAM, proposal.source) == {"MAX_LR": (1e-2, 3e-2)}
    first, second = server.requests
    said = second.body["messages"]
    assert [m["role"] for m in said] == ["system", "user", "assistant", "user"]
    assert said[:2] == first.body["messages"]
    assert "MAX_LR = 1e-2  # search: log(1e-4, 1e-1)" in said[3]["content"]
    assert proposal.usage is not None
    assert (proposal.usage.calls, proposal.usage.input_tokens) == (2, 2000)


def test_then_the_whole_file_with_the_header_of_an_earlier_turn():
    whole = f"```python\n{constants.assign(PROGRAM, {'DEPTH': 5})}```"
    proposal, server = ask(envelope("x", "y", hypothesis="deeper"), MISS.split("```\n\n")[1], whole)
    assert constants.changed(PROGRAM, proposal.source) == {"DEPTH": (3, 5)}
    assert proposal.description == "deeper"
    assert "complete new text of `train.py`" in server.requests[2].prompt


def test_then_it_is_over_and_the_usage_is_kept():
    with FakeLLM([MISS]) as server, pytest.raises(ProposalFailed, match="no answer of 3 could be applied") as caught:
        proposer(server).propose(briefing())
    assert caught.value.code == "llm_failed"
    assert caught.value.usage is not None and caught.value.usage.calls == 3
    assert len(server.requests) == 3


def test_why_each_answer_did_not_do_is_told_also_when_the_server_fails_in_between():
    answers = ("An idea: train longer.", "```python\nDEPTH = 4\n```", envelope("CLASSES = 100", "CLASSES = 100"))
    reasons = (
        "(1) there is no SEARCH/REPLACE block",
        "(2) the code in the answer has 1 lines",
        "(3) the edited file",
    )
    with FakeLLM(answers) as server, pytest.raises(ProposalFailed) as caught:
        proposer(server).propose(briefing())
    assert all(reason in caught.value.detail for reason in reasons)
    with FakeLLM([answers[0], Raw("{}", 404)]) as server, pytest.raises(ProposalFailed) as caught:
        proposer(server).propose(briefing())
    assert (caught.value.code, "404" in caught.value.detail) == ("llm_config", True)
    assert f"; answers: {reasons[0]}" in caught.value.detail


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (blocks("DEPTH = 3  # search: int(2, 6)", "DEPTH = 4  # search: int(2, 6)"), "header with the hypothesis"),
        (envelope("CLASSES = 100", "CLASSES = 100"), "nothing would change"),
        (envelope("CLASSES = 100", "CLASSES = = 100"), "not usable: line 8"),
        (envelope("CLASSES = 100", "CLASSES = 10", vram_mib=9000), "predict a peak of 9000 MiB and the limit is 4000"),
        ("harness/score.py\n" + blocks("CLASSES = 100", "CLASSES = 1"), "only train.py may change"),
        ("I am sorry, here is an idea: train longer.", "no SEARCH/REPLACE block"),
        ("```python\nDEPTH = 4\n```", "has 1 lines and is neither"),
        ("z" * 200_000, "has 200000 characters, at most 120000"),
        ('```json\n{"hypothesis": "' + "{" * 5000 + "\n```", "no SEARCH/REPLACE block"),
        ("[" * 100_000, "no SEARCH/REPLACE block"),
    ],
)
def test_what_cannot_be_used_is_sent_back_with_its_reason(answer, reason):
    proposal, server = ask(answer, GOOD, told=briefing(memory_limit_mib=4000))
    assert proposal.description == "fewer"
    sent_back = server.requests[1].body["messages"][3]["content"]
    assert reason in sent_back


def test_an_edit_without_a_hypothesis_counts_after_one_reminder():
    bare = blocks("CLASSES = 100", "CLASSES = 10")
    proposal, server = ask(bare)
    assert len(server.requests) == 2
    assert proposal.description == "CLASSES 100 -> 10"


class TestOperator:
    def edit(self, said: str, search: str = "CLASSES = 100", replace: str = "CLASSES = 10") -> Operator:
        return ask(envelope(search, replace, operator=said))[0].operator

    def test_a_model_cannot_ask_for_what_bypasses_the_gate(self):
        for said in ("replicate", "baseline", "REPLICATE", "verify", "", "rm -rf"):
            assert self.edit(said) == Operator.TUNE

    def test_tune_or_structural_is_read_off_the_edit(self):
        assert self.edit("structural") == Operator.TUNE
        assert self.edit("tune", "    build_model()", "    print(build_model())") == Operator.STRUCTURAL
        assert self.edit("tune", "CLASSES = 100", "CLASSES = 10\nWIDTH = 5") == Operator.STRUCTURAL

    def test_that_it_ablates_or_recombines_is_believed(self):
        assert self.edit("ablate") == Operator.ABLATE
        assert self.edit("recombine") == Operator.RECOMBINE


@pytest.mark.parametrize(
    ("header", "field", "value"),
    [
        ({"expects": 1e999}, "expects", None),
        ({"expects": "-0.1"}, "expects", None),
        ({"expects": True}, "expects", None),
        ({"expects": 5000}, "expects", None),
        ({"cites": ["t0002", 7, None, "../../etc", "x" * 99, "t0003"]}, "cites", ("t0002", "t0003")),
        ({"cites": "t0002"}, "cites", ()),
        ({"cites": [f"t{n}" for n in range(99)]}, "cites", tuple(f"t{n}" for n in range(16))),
        ({"family": "Optimizer"}, "family", "optimiser"),
        ({"family": "world domination"}, "family", "other"),
        ({"family": ["x"]}, "family", "other"),
        ({"hypothesis": "a\x1b[2Jb\n\u202ec"}, "description", "a[2Jb c"),
        ({"hypothesis": "w" * 999}, "description", "w" * 299 + "…"),
    ],
)
def test_header_fields_are_cut_to_what_they_may_be(header, field, value):
    assert getattr(ask(envelope("CLASSES = 100", "CLASSES = 10", **header))[0], field) == value


class TestSchemaMode:
    SAID: ClassVar[dict[str, object]] = {
        "hypothesis": "deeper", "family": "architecture", "operator": "tune", "cites": [], "expects": -0.1,
        "vram_mib": None, "edits": [{"search": "CLASSES = 100\n", "replace": "CLASSES = 10\n"}],
    }  # fmt: skip

    def test_one_json_object_is_enough(self):
        proposal, server = ask(json.dumps(self.SAID), mode="schema")
        assert constants.changed(PROGRAM, proposal.source) == {"CLASSES": (100, 10)}
        sent = server.requests[0].body["response_format"]
        assert sent["type"] == "json_schema" and sent["json_schema"]["strict"] is True
        assert "$ref" not in json.dumps(sent) and "default" not in json.dumps(sent)

    @pytest.mark.parametrize(
        "refusal",
        [
            Raw('{"error": {"message": "response_format is not supported"}}', status=400),
            Raw('[{"error": {"code": 400, "message": "Unknown name json_schema", "status": "INVALID_ARGUMENT"}}]', 400),
            Raw(  # what llama-cpp-python's server answers
                "{\"error\": {\"message\": \"1 validation error: {'type': 'literal_error', 'loc': ('body', "
                '\'response_format\', \'type\')", "type": "internal_server_error"}}',
                500,
            ),
            "Sure! Here is my idea: train longer.",
        ],
    )
    def test_a_server_without_it_is_not_asked_again(self, refusal):
        with FakeLLM([refusal, GOOD]) as server:
            model = proposer(server, mode="schema")
            model.propose(briefing())
            model.propose(briefing())
        assert ["response_format" in request.body for request in server.requests] == [True, False, False]
        assert model.mode == "envelope"

    def test_no_other_worker_asks_that_model_again(self, tmp_path):
        learnt = tmp_path / "llm" / "servers"
        with FakeLLM([Raw('{"error": {"message": "response_format is not supported"}}', status=400), GOOD]) as server:
            proposer(server, mode="schema", learnt=learnt).propose(briefing())
            another = proposer(server, mode="schema", learnt=learnt)
            another.propose(briefing())
            assert ["response_format" in request.body for request in server.requests] == [True, False, False]
            assert another.mode == "envelope"
            assert proposer(server, model="larger", mode="schema", learnt=learnt).mode == "schema"

    def test_a_miss_alone_does_not_cost_the_mode(self):
        miss = json.dumps({**self.SAID, "edits": [{"search": "nothing", "replace": ""}]})
        with FakeLLM([miss, GOOD]) as server:
            model = proposer(server, mode="schema")
            model.propose(briefing())
        assert model.mode == "schema"


def test_content_in_parts_is_joined():
    text = GOOD
    parts = [{"type": "text", "text": text[:40]}, {"type": "text", "text": text[40:]}, {"type": "image"}]
    assert ask(completion(parts))[0].operator == Operator.TUNE


def test_half_a_character_does_not_break_the_next_turn():
    proposal, server = ask(completion("\ud800 no blocks"), GOOD)
    assert proposal.description == "fewer"
    assert server.requests[1].body["messages"][2]["content"] == "? no blocks"


FRAGMENTS = (
    "<<<<<<< SEARCH\n", "=======\n", ">>>>>>> REPLACE\n", "CLASSES = 100\n", "CLASSES = 10\n", "```python\n",
    "```json\n", "```\n", '{"hypothesis": "x", ', '"cites": [', '"t0002"', "]}", '"edits": [{"search": "DEPTH = 3"',
    "null", "1e999", "\x00", "\u202e", "\ud800", "\r\n", "\n", PROGRAM,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(parts=st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=8), max_size=14))
def test_any_answer_is_a_draft_or_a_reason(parts):
    for read in (read_envelope, read_schema):
        try:
            draft = read("".join(parts), briefing())
        except EditFailed as failure:
            assert str(failure)
        else:
            to_proposal(draft, briefing(), proposer="x", usage=None, redact=Redactor()).model_dump_json()


def test_a_prompt_that_is_too_long_asks_nobody():
    with FakeLLM([GOOD]) as server, pytest.raises(ProposalFailed, match="Raise the limit") as caught:
        environ = {"SWARM_MODEL": "m", "OPENAI_BASE_URL": server.url, "SWARM_LLM_MAX_PROMPT": "400"}
        OpenAIProposer.from_environment({}, environ).propose(briefing())
    assert caught.value.code == "llm_config"
    assert caught.value.cooldown_s >= 60, "it would be asked again at each trial"
    assert server.requests == []


def test_flags_win_over_the_environment_and_what_is_missing_is_named():
    environ = {"SWARM_MODEL": "from-env", "OPENAI_BASE_URL": "http://127.0.0.1:9/v1"}
    assert OpenAIProposer.from_environment({}, environ).name == "openai:from-env"
    assert OpenAIProposer.from_environment({}, environ, model="flag").name == "openai:flag"
    assert OpenAIProposer.from_environment({}, {**environ, "SWARM_LLM_MODE": "schema"}).mode == "schema"
    with pytest.raises(UsageError, match="may be envelope or schema"):
        OpenAIProposer.from_environment({}, {**environ, "SWARM_LLM_MODE": "xml"})
    for name, limit in (
        ("SWARM_LLM_MAX_OUTPUT", "none"),
        ("SWARM_LLM_MAX_OUTPUT", "0"),
        ("SWARM_LLM_MAX_PROMPT", "-5"),
    ):
        with pytest.raises(UsageError, match=name):
            OpenAIProposer.from_environment({}, {**environ, name: limit})
    with pytest.raises(UsageError, match="SWARM_MODEL"):
        OpenAIProposer.from_environment({}, {})
    with pytest.raises(UsageError, match="OPENAI_API_KEY"):
        OpenAIProposer.from_environment({}, {"SWARM_MODEL": "m"})


def test_the_length_of_an_answer_is_bounded_only_if_somebody_asks_for_it():
    with FakeLLM([GOOD]) as server:
        environ = {"SWARM_MODEL": "m", "OPENAI_BASE_URL": server.url}
        OpenAIProposer.from_environment({}, environ).propose(briefing())
        OpenAIProposer.from_environment({}, {**environ, "SWARM_LLM_MAX_OUTPUT": "300"}).propose(briefing())
    assert [request.body.get("max_tokens") for request in server.requests] == [None, 300]


@pytest.mark.parametrize("mode", ["envelope", "schema"])
def test_a_prompt_that_does_not_fit_the_context_is_shortened_for_good(mode):
    words = "This model's maximum context length is 4096 tokens. However, you requested 4761 tokens"
    full = Raw(json.dumps({"error": {"message": words}}), status=400)

    def answer(request):
        return full if len(request.prompt) > 0.8 * longest else GOOD

    told = briefing(tuple(attempt(f"t{n:04}", {"MAX_LR": n / 1000}, loss=2.0 + n / 100) for n in range(2, 60)))
    with FakeLLM([GOOD]) as server:
        proposer(server).propose(told)
        longest = len(server.requests[0].prompt)
    with FakeLLM([answer]) as server:
        model = proposer(server, mode=mode)
        model.propose(told)
        refused = len(server.requests)
        model.propose(told)
    assert refused >= 2 and len(server.requests[-1].prompt) < 0.8 * longest
    assert len(server.requests) - refused <= (2 if mode == "schema" else 1)


def test_a_program_too_long_for_the_context_is_one_failure_with_the_servers_words():
    full = Raw('{"error": {"message": "the context window is 512 tokens"}}', status=400)
    with FakeLLM([full]) as server:
        model = proposer(server)
        for _ in range(8):  # no breaker opens: it is the request that is wrong
            with pytest.raises(ProposalFailed, match="the context window is 512 tokens") as caught:
                model.propose(briefing())
            assert caught.value.cooldown_s >= 60, "it would be asked again at each trial"
    assert len(server.requests) == 8
