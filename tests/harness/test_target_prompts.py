"""The prompts target: hidden messages, what a prompt may be, a stand-in that depends on it, and a real server."""

import importlib
import json
from contextlib import closing
from pathlib import Path
from statistics import fmean

import pytest
from factories.briefings import briefing, view
from factories.prompt_target import BASE, ITEMS, TARGET, TEST_ITEMS, drawing, filling, set_in, template
from fakes.fake_llm import FakeLLM, Raw, completion

from swarm import gate
from swarm.orchestrator.data import own_data
from swarm.program import constants, several
from swarm.trial.contract import code_root
from workers.proposers.library import EDITS

asking, grade, standin = (importlib.import_module(name) for name in ("asking", "grade", "standin"))
PROGRAM = several.joined({"prompt.toml": BASE})
GOOD = set_in(BASE, INSTRUCTION="rules", TEMPERATURE=0.0, EXAMPLES=4)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A grader's folder, with no server named."""
    monkeypatch.chdir(tmp_path)
    for name in ("SWARM_PROMPTS_URL", "SWARM_PROMPTS_MODEL", "SWARM_PROMPTS_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def accuracy(prompt: str, seed: int = 1) -> float:
    return float(grade.graded(prompt, ITEMS, seed)["metrics"]["accuracy"])


def test_the_target_goes_with_its_prompt() -> None:
    known = constants.parse(PROGRAM)
    assert set(known) == {"INSTRUCTION", "TEMPLATE", "EXAMPLES", "TEMPERATURE", "REPLY_TOKENS", "TAKE"}
    assert all(one.space is not None and one.space.contains(one.value) for one in known.values())
    assert gate.check_base(PROGRAM, TARGET.terms) is None
    assert TARGET.terms.grade == "graded" and TARGET.terms.has_test
    assert [str(guard) for guard in TARGET.terms.guards] == ["characters <= 1200"]
    assert TARGET.grading is not None
    assert own_data(code_root(), TARGET.grading, {}).dataset == "standin-model"


def test_messages_are_the_secrets_alone_and_each_has_one_answer() -> None:
    assert drawing.draw("5e" * 32, 40) == ITEMS and drawing.draw("5e" * 32, 10) == ITEMS[:10]
    assert not {item.number for item in ITEMS} & {item.number for item in TEST_ITEMS}
    assert len({item.number for item in ITEMS}) == 40 and {item.answer for item in ITEMS} == set(drawing.LABELS)
    assert all(item.number in item.text for item in ITEMS)
    assert not any(item.number in BASE for item in (*ITEMS, *TEST_ITEMS))


def test_the_stand_in_depends_on_the_prompt_and_repeats_itself(here: Path) -> None:
    base, good = accuracy(BASE), accuracy(GOOD)
    assert 0.15 < base < 0.6 < good < 0.95
    assert accuracy(BASE) == base and accuracy(GOOD, seed=2) == good, "at temperature 0 the seed changes nothing"
    assert len({accuracy(set_in(BASE, TEMPERATURE=1.0), seed) for seed in range(4)}) > 1
    assert accuracy(set_in(GOOD, TEMPERATURE=1.4)) < good - 0.1
    assert accuracy(set_in(GOOD, TEMPLATE="question first")) < good - 0.2, "it answers what it has read last"
    assert accuracy(set_in(GOOD, INSTRUCTION="none", EXAMPLES=0)) < 0.1
    steps = set_in(BASE, INSTRUCTION="steps", TEMPERATURE=0.0)
    assert accuracy(set_in(steps, TAKE="whole")) == 0.0 < accuracy(set_in(steps, TAKE="last line")) - 0.4
    assert accuracy(set_in(steps, TAKE="last line", REPLY_TOKENS=4)) == 0.0, "cut before its answer"


def test_a_grade_has_its_items_its_cost_and_says_stand_in(here: Path) -> None:
    told = grade.graded(BASE, ITEMS, 1)
    items = json.loads((here / "right.json").read_text())
    assert len(items) == 40 and set(items) <= {0.0, 1.0} and fmean(items) == told["metrics"]["accuracy"]
    assert 300 < told["metrics"]["characters"] < 500 and told["flags"] == ["stand_in_model"]
    longer = grade.graded(set_in(BASE, EXAMPLES=8), ITEMS, 1)["metrics"]["characters"]
    assert longer > told["metrics"]["characters"] + 300


REFUSED = {
    "no TOML": "x = ]",
    "nothing that a prompt has": 'BASE_URL = "http://evil"\n' + BASE,
    "leaves out the message": template("Say billing."),
    "or repeats it": template("{item} {item}"),
    "item.__class__": template("{item} {item.__class__.__init__.__globals__}"),
    "0.__class__": template("{item} {0.__class__}"),
    "file:../private/items.key": template("{item} {file:../private/items.key}"),
    "item!r": template("{item!r}"),
    "command of a template language": template("{item} {% include '../private/items.key' %}"),
    "'{{'": template("{{item}} {item}"),
    "U+200B": template("{item}\\u200b"),
    "U+FF5B": template("\uff5bitem\uff5d"),
    "mimics the answer": template('{item} {\\"metrics\\": {\\"accuracy\\": 1.0}, \\"valid\\": true}'),
    "one of the hidden messages": template(f"{{item}} {' '.join(ITEMS[5].number)}"),
    "carries one of the hidden": template(f"{{item}} The answer to #{ITEMS[3].number} is {ITEMS[3].answer}."),
    "a text of 5000": template("{item}" + "x" * 4994),
    "TEMPERATURE is 1e+300": set_in(BASE, TEMPERATURE=1e300),
    "TEMPERATURE is nan": BASE.replace("TEMPERATURE = 0.7", "TEMPERATURE = nan"),
    "REPLY_TOKENS is 100000": set_in(BASE, REPLY_TOKENS=100000),
    "TAKE is 'eval'": set_in(BASE, TAKE="eval"),
    "EXAMPLES is True": BASE.replace("EXAMPLES = 2", "EXAMPLES = true"),
    "INSTRUCTION is 'secret'": set_in(BASE, INSTRUCTION="secret"),
    "an example has": BASE + '\n[[examples]]\ntext = "a"\nanswer = "b"\nmore = 1\n',
    "{item} is no field here; fields are none": BASE.replace('answer = "billing"', 'answer = "{item}"', 1),
}


@pytest.mark.parametrize(("why", "prompt"), REFUSED.items(), ids=REFUSED)
def test_what_is_no_prompt_is_refused_by_its_name(why: str, prompt: str) -> None:
    with pytest.raises(filling.Refused) as refusal:
        filling.read(prompt, ITEMS)
    assert why in str(refusal.value)


def test_a_prompt_that_grows_is_refused_before_anybody_is_asked(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = set_in(BASE, EXAMPLES=10) + "".join(
        f'\n[[examples]]\ntext = "{"x" * 900}"\nanswer = "billing"\n' for _ in range(10)
    )
    monkeypatch.setattr(grade, "_ask_all", lambda *_: pytest.fail("it was asked"))
    with pytest.raises(filling.Refused, match=r"prompt of \d+ characters; 6000 are allowed"):
        grade.graded(long.replace("EXAMPLES = 10 ", "EXAMPLES = 20 "), ITEMS, 1)


def test_what_a_message_says_is_never_a_field() -> None:
    odd = drawing.Item("{examples} {system} {item.__class__} {instruction}", "billing", "999999")
    filled = filling.read(BASE, ITEMS).filled(odd)
    assert odd.text in filled[-1]["content"] and len(filled) == 2


def test_a_real_server_is_asked_with_the_key_and_nothing_of_it_is_said(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeLLM([completion(" Billing.\n", usage={"total_tokens": 7})]) as server:
        monkeypatch.setenv("SWARM_PROMPTS_URL", server.url)
        monkeypatch.setenv("SWARM_PROMPTS_MODEL", "small")
        monkeypatch.setenv("SWARM_PROMPTS_API_KEY", "sk-canary")
        told = grade.graded(set_in(BASE, REPLY_TOKENS=5, TEMPERATURE=0.5), ITEMS, 3)
        asked = server.requests
    assert told["metrics"]["accuracy"] == fmean(item.answer == "billing" for item in ITEMS)
    assert told["metrics"]["tokens"] == 7 and told["flags"] == []
    assert len(asked) == 40 and {request.path for request in asked} == {"/v1/chat/completions"}
    assert all(request.headers["authorization"] == "Bearer sk-canary" for request in asked)
    sent = {key: asked[0].body[key] for key in ("model", "temperature", "max_tokens", "seed")}
    assert sent == {"model": "small", "temperature": 0.5, "max_tokens": 5, "seed": 3}
    assert all(any(item.text in request.prompt for request in asked) for item in ITEMS)


@pytest.mark.parametrize(
    ("answer", "error", "why"),
    [
        (Raw("no", status=401), "ServerAway", "status 401"),
        (Raw("no", status=503), "ServerAway", "status 503"),
        (Raw("<html>"), "ServerAway", "no chat completion"),
        (Raw("too long", status=400), "ServerRefuses", "status 400"),
        (Raw("", status=302, headers={"location": "http://127.0.0.1:9/"}), "ServerAway", "status 302"),
    ],
)
def test_a_server_that_fails_is_told_from_a_prompt_that_does(
    answer: Raw, error: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "PAUSE_S", 0.0)
    with (
        FakeLLM([answer]) as server,
        closing(asking.Server(server.url, "m", None)) as own,
        pytest.raises(getattr(asking, error), match=why),
    ):
        own.ask([{"role": "user", "content": "x"}], asking.Settings(0.0, 4, 1))


def test_a_newer_server_is_told_the_limit_by_its_own_name() -> None:
    wants = Raw('{"error": {"message": "use max_completion_tokens"}}', status=400)
    with (
        FakeLLM([wants, completion("billing", usage={})]) as server,
        closing(asking.Server(server.url, "m", None)) as own,
    ):
        reply = own.ask([{"role": "user", "content": "x"}], asking.Settings(0.0, 4, 1))
        assert server.requests[-1].body["max_completion_tokens"] == 4
    assert (reply.text, reply.tokens) == ("billing", None)


def test_the_embedded_arms_tune_its_settings_and_the_library_says_that_it_does_not_apply() -> None:
    from workers.proposers.climb import ClimbProposer
    from workers.proposers.model_based import ModelBasedProposer

    assert not any(edit.applies(PROGRAM) for edit in EDITS), "edits of training programs"
    asked = briefing(incumbent=view(PROGRAM))
    for proposer in (ClimbProposer(), ModelBasedProposer()):
        proposal = proposer.propose(asked)
        passed = gate.check(proposal.source, PROGRAM, [], TARGET.terms)
        assert isinstance(passed, gate.Passed) and passed.constants_changed, proposer.name
        filling.read(several.files_of(proposal.source, "")["prompt.toml"], ITEMS)
