"""What servers and models of the field do: the right answer is used, or the failure has its class and a rest that ends.

Each row is a server on loopback. A row of `USED` answers, if in its own way: the edit becomes the proposal. A row of
`FAILS` fails with its class for as long as the server is as it is; once it is well it is used again, after the rests
that it was given.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from factories.briefings import PROGRAM, attempt, briefing, view
from fakes.fake_clock import FakeClock
from fakes.fake_llm import Answer, Drop, FakeLLM, Raw, Request, Step, completion, envelope

from swarm.program import constants
from workers.proposers import ProposalFailed
from workers.proposers.edits import EditFailed
from workers.proposers.openai_api import OpenAIProposer
from workers.proposers.reply import read_envelope

GOOD = envelope("CLASSES = 100", "CLASSES = 10", hypothesis="fewer")
HALF = GOOD[: len(GOOD) // 2]
THOUGHT = "First I try\n<<<<<<< SEARCH\nDEPTH = 3\n=======\nDEPTH = 5\n>>>>>>> REPLACE\nbut no, that is too deep."
REST_S = 3600.0
LONG = briefing(tuple(attempt(f"t{n:04}", {"MAX_LR": n / 1000}, loss=2.0 + n / 100) for n in range(2, 60)))


def error(status: int, message: object = "no", *, headers: Mapping[str, str] | None = None, **fields: object) -> Raw:
    return Raw(json.dumps({"error": {"message": message, **fields}}), status, headers=headers or {})


def inside(**fields: object) -> Raw:
    return Raw(json.dumps({"error": fields}))


def events(*pieces: object, end: str = "data: [DONE]\n\n", finish: str | None = "stop", newline: str = "\n") -> Raw:
    said = [
        {"choices": [{"index": 0, "delta": piece if isinstance(piece, dict) else {"content": piece}}]}
        for piece in pieces
    ]
    said += [{"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}] if finish else []
    body = "".join(f"data: {json.dumps(one)}\n\n" for one in said) + end
    return Raw(body.replace("\n", newline), content_type="text/event-stream")


def wants(
    rule: Callable[[Request], str | None], answer: Answer = GOOD, status: int = 400
) -> Callable[[Request], Answer]:
    """A server that refuses, in these words, whatever breaks its rule."""

    def step(request: Request) -> Answer:
        refusal = rule(request)
        return answer if refusal is None else error(status, refusal)

    return step


def roles(request: Request) -> list[str]:
    return [message["role"] for message in request.body["messages"]]


def sent(request: Request, *names: str) -> bool:
    return any(name in request.body for name in names)


def choice(**message: object) -> Raw:
    return Raw(json.dumps({"choices": [{"finish_reason": "stop", "message": {"role": "assistant", **message}}]}))


@dataclass(frozen=True)
class Row:
    name: str
    step: Step | tuple[Step, ...]
    code: str = ""  # of the failure
    options: Any = None
    requests: int | None = None  # until it is used, or until it fails; None is not looked at


def needs_completion_tokens(request: Request) -> str | None:
    if sent(request, "max_tokens"):
        return (
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        )
    return None


def long_context(tokens: int, words: str) -> Callable[[Request], Answer]:
    def step(request: Request) -> Answer:
        asked = len(request.prompt) // 4
        return GOOD if asked <= tokens else error(400, words.format(limit=tokens, asked=asked))

    return step


def short_answers(request: Request) -> Answer:
    asked = request.body.get("max_tokens", 16)
    return (
        completion(GOOD)
        if asked >= 4096
        else completion(HALF, finish="length", usage={"prompt_tokens": 900, "completion_tokens": asked})
    )


LIMIT = {"max_output_tokens": 300}
SCHEMA = {"mode": "schema"}

USED = (
    # reasoning models
    Row("thinking in the content", f"<think>\n{THOUGHT}\n</think>\n\n{GOOD}", requests=1),
    Row("thinking whose beginning was part of the prompt", f"{THOUGHT}\n</think>\n{GOOD}", requests=1),
    Row("thinking of another mark", f"<thinking>{THOUGHT}</thinking>{GOOD}", requests=1),
    Row("thinking in brackets", f"[THINK]{THOUGHT}[/THINK]{GOOD}", requests=1),
    Row("empty thinking", f"<think>\n\n</think>\n\n{GOOD}", requests=1),
    Row("thinking that speaks of its mark", f"<think>what is </think> for?\n{THOUGHT}</think>\n{GOOD}", requests=1),
    Row(
        "channels",
        f"<|channel|>analysis<|message|>{THOUGHT}<|end|><|start|>assistant<|channel|>final<|message|>{GOOD}<|return|>",
        requests=1,
    ),
    Row("an answer between marks", f"<think>x</think><answer>\n{GOOD}\n</answer>", requests=1),
    Row("thinking beside the content", completion(GOOD, reasoning_content=THOUGHT), requests=1),
    Row("an answer that went into the thinking", completion("", reasoning_content=GOOD), requests=1),
    Row(
        "thinking and answer in reasoning_content",
        completion(None, reasoning_content=f"{THOUGHT}</think>{GOOD}"),
        requests=1,
    ),
    Row(
        "parts with thinking",
        completion(
            [{"type": "thinking", "thinking": [{"type": "text", "text": THOUGHT}]}, {"type": "text", "text": GOOD}]
        ),
        requests=1,
    ),
    Row(
        "a part of reasoning that has a text",
        completion([{"type": "reasoning", "text": THOUGHT}, {"type": "output_text", "text": GOOD}]),
        requests=1,
    ),
    # cut answers and prompts
    Row("an answer that was cut off", short_answers, requests=2),
    Row("thinking that was cut off", (completion(f"<think>{THOUGHT}", finish="length"), GOOD), requests=2),
    Row(
        "nothing but thinking, cut off", (completion("", finish="length", reasoning_content=THOUGHT), GOOD), requests=2
    ),
    Row("cut off, in Gemini's word", (completion(HALF, finish="MAX_TOKENS"), GOOD), requests=2),
    # servers with their own rules
    Row("max_completion_tokens", wants(needs_completion_tokens), options=LIMIT, requests=2),
    Row(
        "max_completion_tokens, as a code",
        wants(lambda r: "unsupported_parameter max_tokens" if sent(r, "max_tokens") else None),
        options=LIMIT,
        requests=2,
    ),
    Row(
        "a limit that has to be named",
        wants(lambda r: None if sent(r, "max_tokens") else "max_tokens: Field required"),
        requests=2,
    ),
    Row(
        "a limit that is too large",
        wants(
            lambda r: (
                "max_tokens is too large: 300. This model supports at most 100 completion tokens"
                if r.body.get("max_tokens", 0) > 100
                else None
            )
        ),
        options=LIMIT,
        requests=2,
    ),
    Row(
        "a limit in a range",
        wants(lambda r: "Range of max_tokens should be [1, 100]" if r.body.get("max_tokens", 0) > 100 else None),
        options=LIMIT,
        requests=2,
    ),
    Row("no system role", wants(lambda r: "System role not supported" if "system" in roles(r) else None), requests=2),
    Row(
        "no system role, in a template's words",
        wants(
            lambda r: (
                "Conversation roles must alternate user/assistant/user/assistant/..." if roles(r)[0] != "user" else None
            ),
            status=500,
        ),
        requests=2,
    ),
    Row(
        "a role that is not one of four",
        wants(
            lambda r: (
                "Unsupported value: 'messages[0].role' does not support 'system' with this model."
                if "system" in roles(r)
                else None
            )
        ),
        requests=2,
    ),
    Row(
        "the developer's role",
        wants(
            lambda r: (
                None if "developer" in roles(r) else "role 'system' is not supported, use 'developer' role messages"
            )
        ),
        requests=2,
    ),
    Row(
        "no developer instruction",
        wants(lambda r: "Developer instruction is not enabled for models/gemma" if "system" in roles(r) else None),
        requests=2,
    ),
    Row(
        "no response_format",
        wants(lambda r: "response_format is not supported" if sent(r, "response_format") else None),
        options=SCHEMA,
        requests=2,
    ),
    Row(
        "no json_schema",
        wants(
            lambda r: "'response_format.type' must be 'json_object' or 'text'" if sent(r, "response_format") else None
        ),
        options=SCHEMA,
        requests=2,
    ),
    Row(
        "a validation list",
        (
            Raw(
                json.dumps(
                    {
                        "detail": [
                            {
                                "type": "extra_forbidden",
                                "loc": ["body", "max_tokens"],
                                "msg": "Extra inputs are not permitted",
                            }
                        ]
                    }
                ),
                422,
            ),
            GOOD,
        ),
        options=LIMIT,
        requests=2,
    ),
    Row(
        "streams only",
        wants(
            lambda r: (
                None
                if r.body.get("stream")
                else "This model only support stream mode, please enable the stream parameter"
            ),
            events(GOOD),
        ),
        requests=2,
    ),
    Row(
        "streams only, without counts",
        wants(
            lambda r: (
                "Unrecognized request argument supplied: stream_options"
                if sent(r, "stream_options")
                else None
                if r.body.get("stream")
                else "stream must be true"
            ),
            events(GOOD),
        ),
        requests=3,
    ),
    Row("a rule in a 200", (inside(code=400, message="System role not supported"), GOOD), requests=2),
    Row(
        "the context's length",
        long_context(
            1500, "This model's maximum context length is {limit} tokens. However, you requested {asked} tokens"
        ),
        options={"told": LONG},
    ),
    Row(
        "a prompt too long, by Anthropic",
        long_context(1500, "prompt is too long: {asked} tokens > {limit} maximum"),
        options={"told": LONG},
    ),
    Row(
        "a prompt too long, by llama.cpp",
        long_context(1500, "the request exceeds the available context size ({limit} tokens), try increasing it"),
        options={"told": LONG},
    ),
    Row(
        "a prompt too long, by Gemini",
        long_context(1500, "The input token count ({asked}) exceeds the maximum number of tokens allowed ({limit})."),
        options={"told": LONG},
    ),
    Row(
        "an address without its path",
        lambda r: GOOD if r.path.startswith("/v1/") else Raw("404 page not found", 404),
        options={"path": ""},
        requests=2,
    ),
    Row(
        "an address that is a page's",
        lambda r: GOOD if r.path.startswith("/v1/") else Raw("<!doctype html><html>", content_type="text/html"),
        options={"path": ""},
        requests=2,
    ),
    Row("an address with the call's own path", GOOD, options={"path": "/v1/chat/completions"}, requests=1),
    # bodies
    Row("events that nobody asked for", events(GOOD[:30], GOOD[30:]), requests=1),
    Row("events with thinking", events({"reasoning_content": THOUGHT}, {"role": "assistant"}, GOOD), requests=1),
    Row("events with CRLF", events(GOOD, newline="\r\n"), requests=1),
    Row("events without an end mark", events(GOOD, end=""), requests=1),
    Row("events that break off", (events(GOOD[:50], end="", finish=None), GOOD), requests=2),
    Row(
        "an error in the middle of events",
        (events(GOOD[:50], end='data: {"error": {"code": 502, "message": "upstream"}}\n\n'), GOOD),
        requests=2,
    ),
    Row(
        "events with a comment between",
        Raw(": ping\n\n" + events(GOOD).body, content_type="text/event-stream"),
        requests=1,
    ),
    Row(
        "a comment before the body",
        Raw(": OPENROUTER PROCESSING\n\n: OPENROUTER PROCESSING\n\n" + completion(GOOD).body),
        requests=1,
    ),
    Row("blank lines before the body", Raw("\n\n\n" + completion(GOOD).body), requests=1),
    Row("the body has a mark of UTF-8", Raw("\ufeff" + completion(GOOD).body), requests=1),
    Row(
        "the header names Latin-1",
        Raw(completion("Grüße, größer\n" + GOOD).body, content_type="application/json; charset=iso-8859-1"),
        requests=1,
    ),
    Row(
        "the old form of a completion",
        Raw(json.dumps({"choices": [{"text": GOOD, "finish_reason": "stop"}]})),
        requests=1,
    ),
    Row(
        "Ollama's own form",
        Raw(json.dumps({"message": {"role": "assistant", "content": GOOD}, "done": True, "done_reason": "stop"})),
        requests=1,
    ),
    Row("one part in place of a list", completion({"type": "text", "text": GOOD}), requests=1),
    Row("parts that are texts", completion([GOOD[:40], GOOD[40:]]), requests=1),
    Row("no usage, no id, no model", choice(content=GOOD), requests=1),
    Row("usage of another form", completion(GOOD, usage={"input_tokens": 5, "output_tokens": 6}), requests=1),
    # errors that pass
    Row("an error in a 200, once", (inside(message="Service temporarily unavailable"), GOOD), requests=2),
    Row(
        "an error of a choice, once",
        (
            Raw(json.dumps({"choices": [{"finish_reason": "error", "error": {"code": 502, "message": "upstream"}}]})),
            GOOD,
        ),
        requests=2,
    ),
    Row(
        "the gateway's page, once",
        (Raw("<html>504 Gateway Time-out</html>", 504, content_type="text/html"), GOOD),
        requests=2,
    ),
    Row("a line that drops, once", (Drop(), GOOD), requests=2),
    Row(
        "busy, and says in words for how long",
        (error(429, "Rate limit reached. Please try again in 1.5s."), GOOD),
        requests=2,
    ),
    Row("busy for a moment in milliseconds", (error(429, headers={"retry-after-ms": "900"}), GOOD), requests=2),
    Row("overloaded, once", (error(529, "Overloaded", type="overloaded_error"), GOOD), requests=2),
    # encodings of answers
    Row("CRLF", GOOD.replace("\n", "\r\n"), requests=1),
    Row("a mark of UTF-8 before the answer", "\ufeff" + GOOD, requests=1),
    Row("blanks that do not break", envelope("CLASSES\u00a0=\u00a0100", "CLASSES\u00a0=\u00a010"), requests=1),
    Row("marks of no width", envelope("CLASSES\u200b = 100", "CLASSES = 10\u200b"), requests=1),
)

FAILS = (
    Row(
        "no content but a tool", completion(None, tool_calls=[{"function": {"name": "edit"}}]), "llm_failed", requests=1
    ),
    Row("thinking and no answer", completion(f"<think>{THOUGHT}"), "llm_failed", requests=1),
    Row("cut off, however long it may be", completion(HALF, finish="length"), "llm_failed", requests=2),
    Row("cut off at the person's limit", completion(HALF, finish="length"), "llm_failed", LIMIT, requests=1),
    Row("a key that is refused", error(401, "Incorrect API key provided"), "llm_auth", requests=1),
    Row(
        "a key that is refused, by Gemini",
        error(400, "API key not valid. Please pass a valid API key."),
        "llm_auth",
        requests=1,
    ),
    Row("a proxy that wants a password", error(407), "llm_auth", requests=1),
    Row("a model that is unknown", error(404, "The model `fake` does not exist"), "llm_config", requests=1),
    Row("a model that is unknown, as a 400", error(400, "fake is not a valid model ID"), "llm_config", requests=1),
    Row(
        "a model that is gone",
        error(400, "The model `fake` has been decommissioned and is no longer supported"),
        "llm_config",
        requests=1,
    ),
    Row(
        "an address that moved",
        Raw("", 308, headers={"location": "https://example.invalid/v1"}),
        "llm_config",
        requests=1,
    ),
    Row("no money, as a 400", error(400, "Your credit balance is too low to access the API"), "llm_quota", requests=1),
    Row("no money, as a 403", error(403, "Insufficient balance"), "llm_quota", requests=1),
    Row("no money, as a 402", error(402, "Insufficient credits"), "llm_quota", requests=1),
    Row("no money, in a 200", inside(code=402, message="Insufficient credits. Add more."), "llm_quota", requests=1),
    Row(
        "limits of a day",
        error(429, "Rate limit reached for tokens per day. Please try again in 7h12m5.5s."),
        "llm_rate_limited",
        requests=1,
    ),
    Row("a rest of years", error(429, headers={"retry-after": "999999999"}), "llm_rate_limited", requests=1),
    Row(
        "a rest until another year",
        error(429, headers={"retry-after": "Fri, 31 Dec 2199 23:59:59 GMT"}),
        "llm_rate_limited",
        requests=1,
    ),
    Row("busy in a 200", inside(message="Too many requests, please slow down"), "llm_rate_limited", requests=4),
    Row(
        "busy in words of its own",
        Raw(json.dumps({"base_resp": {"status_code": 1002, "status_msg": "rate limit"}})),
        "llm_rate_limited",
        requests=4,
    ),
    Row(
        "an old error object",
        Raw(json.dumps({"object": "error", "message": "internal", "code": 500})),
        "llm_failed",
        requests=4,
    ),
    Row(
        "an error that is a text",
        Raw(json.dumps({"error": "model runner has unexpectedly stopped"})),
        "llm_failed",
        requests=4,
    ),
    Row(
        "filtered by the server",
        error(400, "The response was filtered", code="content_filter"),
        "llm_failed",
        requests=1,
    ),
    Row("filtered, in Gemini's word", completion("", finish="PROHIBITED_CONTENT"), "llm_failed", requests=1),
    Row("a model that is being loaded", error(503, "Loading model"), "llm_failed", requests=4),
    Row("events that are none", Raw("data: [DONE]\n\n", content_type="text/event-stream"), "llm_failed", requests=4),
    Row("events that always break off", events(GOOD[:40], end="", finish=None), "llm_failed", requests=4),
    Row(
        "a page behind a sign-in",
        Raw("<html>Please sign in</html>", content_type="text/html"),
        "llm_failed",
        requests=4,
    ),
    Row("no context for the program alone", error(400, "the context window is 512 tokens"), "llm_failed"),
    Row("a refusal without a word", Raw("", 400), "llm_failed", requests=1),
    Row(
        "a rule that changes each time",
        wants(
            lambda r: (
                "use max_completion_tokens instead"
                if sent(r, "max_tokens")
                else "max_completion_tokens: Extra inputs are not permitted"
            )
        ),
        "llm_failed",
        LIMIT,
        requests=9,
    ),
    Row("rubbish", "I am sorry, I cannot do that.", "llm_failed", requests=3),
    Row("an answer that speaks another language", "Привет! \U0001f600" * 50, "llm_failed", requests=3),
    Row("an answer of one mark for ever", "<" * 50_000, "llm_failed", requests=3),
    Row(
        "a field of the wrong kind everywhere",
        Raw('{"choices": [{"message": 7, "finish_reason": {}, "index": []}], "usage": "no"}'),
        "llm_failed",
        requests=4,
    ),
)


def proposer(server: FakeLLM, clock: FakeClock, options: Mapping[str, Any]) -> OpenAIProposer:
    url = server.url.removesuffix("/v1") + options.get("path", "/v1")
    others = {name: value for name, value in options.items() if name not in ("path", "told")}
    return OpenAIProposer(model="fake", base_url=url, key="sk-test-key-123456789", clock=clock, **others)


@pytest.mark.parametrize("row", USED, ids=lambda row: row.name)
def test_the_right_answer_is_used(row: Row) -> None:
    options, clock = row.options or {}, FakeClock()
    with FakeLLM(row.step if isinstance(row.step, tuple) else (row.step,)) as server:
        model = proposer(server, clock, options)
        proposal = model.propose(options.get("told", briefing()))
        first = len(server.requests)
        if not isinstance(row.step, tuple):
            assert model.propose(options.get("told", briefing())).source == proposal.source
            assert len(server.requests) == first + 1, "the second time it is asked in the right way at once"
    assert constants.changed(PROGRAM, proposal.source) == {"CLASSES": (100, 10)}
    assert proposal.source == PROGRAM.replace("CLASSES = 100", "CLASSES = 10")
    assert row.requests in (None, first)
    assert clock.monotonic() <= 60


@pytest.mark.parametrize("row", FAILS, ids=lambda row: row.name)
def test_the_failure_has_its_class_and_a_rest_that_ends(row: Row) -> None:
    options, clock, well = row.options or {}, FakeClock(), False

    def step(request: Request) -> Answer:
        assert not isinstance(row.step, tuple)
        return GOOD if well else row.step(request) if callable(row.step) else row.step

    with FakeLLM([step]) as server:
        model = proposer(server, clock, options)
        for _ in range(3):
            with pytest.raises(ProposalFailed) as caught:
                model.propose(options.get("told", briefing()))
            assert caught.value.code == row.code
            assert 0 <= caught.value.cooldown_s <= REST_S
            if row.requests is not None:
                assert len(server.requests) == row.requests
                row = Row(row.name, row.step, row.code)
            clock.advance(caught.value.cooldown_s)
        well = True
        assert model.propose(options.get("told", briefing())).description == "fewer"


def test_there_are_enough_of_them() -> None:
    assert len(USED) + len(FAILS) >= 60


SAID = (
    '```json\n{"hypothesis": "fewer", "family": "schedule", "operator": "tune", "cites": [], "expects": -0.01}\n```\n'
)
TUNED = PROGRAM.replace("MAX_LR = 1e-2", "MAX_LR = 2e-2")
FORMS = (
    ("escaped by a page", GOOD.replace("<", "&lt;").replace(">", "&gt;")),
    ("on one line, with its escapes", json.dumps(GOOD)[1:-1]),
    ("marks with the file's name", GOOD.replace("SEARCH", "SEARCH train.py").replace("REPLACE", "REPLACE train.py")),
    (
        "marks of another tool",
        GOOD.replace("<<<<<<< SEARCH", "------- SEARCH").replace(">>>>>>> REPLACE", "+++++++ REPLACE"),
    ),
    ("marks of another name", GOOD.replace("SEARCH", "ORIGINAL").replace("REPLACE", "UPDATED")),
    ("marks in small letters", GOOD.replace("SEARCH", "search").replace("REPLACE", "replace")),
    ("in a list", "".join(f"      {line}\n" for line in GOOD.split("\n"))),
    ("a fence with more in its head", GOOD.replace("```json", '```json title="header"')),
    ("tildes for a fence", GOOD.replace("```", "~~~")),
    ("a header as Python writes it", GOOD.replace("[]", "[], 'vram_mib': None").replace('"', "'")),
    ("a header with a comma too many", GOOD.replace("-0.01}", "-0.01,}")),
    ("the header after the block", GOOD.split("\n\n")[1] + "\n" + SAID),
    (
        "a diff",
        SAID + "```diff\n--- a/train.py\n+++ b/train.py\n@@ -7,3 +7,3 @@\n EMA = False  # search: {True, False}\n"
        "-CLASSES = 100\n+CLASSES = 10\n \n```",
    ),
    (
        "a diff with wrong numbers and no fence",
        SAID + "--- train.py\n+++ train.py\n@@ -1,9 +1,2 @@\n-CLASSES = 100\n+CLASSES = 10\n",
    ),
    ("a patch", SAID + "*** Begin Patch\n*** Update File: train.py\n@@\n-CLASSES = 100\n+CLASSES = 10\n*** End Patch"),
    ("numbers before the lines", SAID + "<<<<<<< SEARCH\n8: CLASSES = 100\n=======\n8: CLASSES = 10\n>>>>>>> REPLACE"),
    (
        "edits as JSON",
        json.dumps(
            {"hypothesis": "fewer", "cites": [], "edits": [{"search": "CLASSES = 100", "replace": "CLASSES = 10"}]}
        ),
    ),
    (
        "edits of other names",
        json.dumps({"hypothesis": "fewer", "edits": [{"old_string": "CLASSES = 100", "new_string": "CLASSES = 10"}]}),
    ),
    ("the whole file without a fence", PROGRAM.replace("= 100", "= 10")),
    ("the whole file with a header", SAID + "```python\n" + PROGRAM.replace("= 100", "= 10") + "```"),
)


@pytest.mark.parametrize(("name", "answer"), FORMS, ids=[name for name, _ in FORMS])
def test_an_edit_in_another_form_is_the_same_edit(name: str, answer: str) -> None:
    source = apply_of(answer)
    assert source == PROGRAM.replace("CLASSES = 100", "CLASSES = 10")


def apply_of(answer: str) -> str:
    return read_envelope(answer, briefing()).source


def test_a_constant_may_be_quoted_without_what_declares_it() -> None:
    answer = envelope("MAX_LR = 1e-2\nDROPOUT = 0.0", "MAX_LR = 2e-2\nDROPOUT = 0.1  # search: linear(0, 0.4)")
    assert apply_of(answer) == TUNED.replace("DROPOUT = 0.0", "DROPOUT = 0.1")


def test_what_the_program_has_of_other_characters_stays() -> None:
    odd = PROGRAM.replace("each kind", "each\u00a0kind").replace("CLASSES = 100", "CLASSES = 100  # a\u00a0few")
    told = briefing(incumbent=view(odd))
    answer = envelope("CLASSES = 100  # a few", "CLASSES = 10  # a few")
    assert read_envelope(answer, told).source == odd.replace("CLASSES = 100  # a\u00a0few", "CLASSES = 10  # a few")


def test_a_diff_of_another_file_is_refused() -> None:
    with pytest.raises(EditFailed, match=r"only train\.py may change"):
        apply_of(SAID + "--- a/score.py\n+++ b/score.py\n@@\n-CLASSES = 100\n+CLASSES = 10\n")
