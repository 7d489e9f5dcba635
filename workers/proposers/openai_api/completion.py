"""Reads the body of a chat completion, whatever the server made of it.

Pure. Compatible servers answer 200 with HTML, with an error object in place of choices, with content in parts, with
events in place of one object, without usage. All of it becomes either a `Completion` or one `BadAnswer` with a reason,
and usage is kept in both cases.
"""

import json
import re
from dataclasses import dataclass
from typing import Literal

from workers.proposers.foreign_json import read_foreign_json
from workers.proposers.openai_api.events import joined
from workers.proposers.openai_api.thinking import parted

MAX_USD = 1e6  # of one call; more is no cost

Document = dict[str, object]
Fault = Literal["server", "place", "model", "cut"]
"""Why a 200 holds no answer: the server, an address that is not its API's, the model, or a limit that cut it off."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Tokens and cost as the server states them; None where it does not."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    usd: float | None = None
    cached_tokens: int | None = None  # of the prompt; some servers count them apart


@dataclass(frozen=True, slots=True)
class Completion:
    """`thinking` is what a reasoning model wrote before its answer; `cut` says that the answer is not whole."""

    text: str
    counts: Counts
    finish: str | None
    model: str | None
    thinking: str = ""
    cut: bool = False


class BadAnswer(Exception):
    """A 200 that holds no answer of the model. `status` is the HTTP status that an error inside the 200 stands for,
    None where it names none."""

    def __init__(
        self, reason: str, counts: Counts | None = None, *, fault: Fault = "server", status: int | None = None
    ) -> None:
        super().__init__(reason)
        self.counts = counts or Counts()
        self.fault = fault
        self.status = status


def read_completion(body: str) -> Completion:
    """The first choice's text. Raises BadAnswer."""
    document = _document(body)
    counts = _counts(document)
    choice = _choice(document, counts)
    raw_message = choice.get("message")
    message = raw_message if isinstance(raw_message, dict) else {"content": choice.get("text")}
    finish = choice.get("finish_reason")
    finish = finish if isinstance(finish, str) else None
    refusal = message.get("refusal")
    if _FILTERED.search(finish or "") or (isinstance(refusal, str) and refusal):
        raise BadAnswer(f"the model refused: {str(refusal or finish)[:300]}", counts, fault="model")
    thinking, text = _parts(message, finish)
    cut = finish is not None and _CUT.search(finish) is not None
    if not text.strip():
        raise _without_text(message, thinking, finish, counts, cut)
    model = document.get("model")
    return Completion(text, counts, finish, model if isinstance(model, str) else None, thinking, cut)


_FILTERED = re.compile(r"(?i)filter|safety|blocked|recitation|prohibited|refusal|sensitive")
_CUT = re.compile(r"(?i)^length$|max_?(output_)?tokens|context_window_exceeded|incomplete")
_THOUGHTS = ("reasoning_content", "reasoning", "thinking", "thoughts")


def _parts(message: Document, finish: str | None) -> tuple[str, str]:
    """Thinking and answer. A model that ended by itself and whose whole text went into its thinking, as happens behind
    a server that looks for the end of it in vain, has its answer there."""
    inline = parted(_plain(_text(message.get("content"))))
    apart = next(filter(None, (_text(message.get(name)) for name in _THOUGHTS)), "")
    if inline.answer.strip():
        return "\n".join(filter(None, (apart, inline.thinking))), inline.answer
    said = parted(_plain(apart))
    if finish in ("stop", None) and said.thinking == "" and ">>>>>>> REPLACE" in said.answer:
        return "", said.answer
    if said.thinking and said.answer.strip():
        return said.thinking, said.answer
    return apart or inline.thinking, ""


def _without_text(message: Document, thinking: str, finish: str | None, counts: Counts, cut: bool) -> BadAnswer:
    if message.get("tool_calls") or message.get("function_call"):
        return BadAnswer("the model called a tool, and there is none: it is to answer in text", counts, fault="model")
    thought = f" beside {len(thinking)} characters of thinking" if thinking else ""
    fault: Fault = "cut" if cut else "model" if thinking else "server"
    return BadAnswer(f"the answer is empty{thought} (finish_reason {finish!r})", counts, fault=fault)


def _choice(document: Document, counts: Counts) -> Document:
    choices = document.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        choice: Document = choices[0]
        if not choice.get("error") and choice.get("finish_reason") != "error":
            return choice
        document = {"error": choice.get("error") or "finish_reason 'error'"}
    elif isinstance(message := document.get("message"), dict) and "content" in message:  # Ollama's own form
        return {"message": message, "finish_reason": document.get("done_reason")}
    error = error_message(document)
    raise BadAnswer(f"no choices in the answer{f': {error}' if error else ''}", counts, status=error_status(document))


def error_message(body: object) -> str:
    """The words of an error body: an object, a list of them (Gemini), a string or HTML. At most 400 characters."""
    if isinstance(body, list):
        body = body[0] if body else ""
    if isinstance(body, dict):
        error = body.get("error") or body.get("errors") or body.get("base_resp") or body
        error = error[0] if isinstance(error, list) and error else error
        body = _message(error) if isinstance(error, dict) else error
    text = body if isinstance(body, str) else json.dumps(body, default=str)
    return " ".join(text.split())[:400] if text not in ("null", "{}") else ""


def _message(error: Document) -> object:
    said = next((error[key] for key in ("message", "status_msg", "msg", "detail") if error.get(key)), error)
    metadata = error.get("metadata")  # a router's: what the server behind it said
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    return f"{said}: {raw}" if isinstance(raw, str) and isinstance(said, str) else said


# What error codes and types mean as HTTP statuses, in the words of OpenAI, Anthropic and Google.
_STATUS_OF_WORD = (
    (402, "quota|billing|credit|balance|payment"),
    (401, "api_?key|authentication|unauthenticated|unauthorized|invalid_token"),
    (403, "permission|forbidden"),
    (404, "not_?found"),
    (429, "rate_?limit|resource_?exhausted|too_?many|throttl"),
    (503, "overloaded|unavailable"),
    (504, "deadline|timeout"),
    (500, "server_?error|api_?error|internal"),
    (400, "invalid|context_length|bad_?request|unsupported"),
)


def error_status(document: object) -> int | None:
    """The HTTP status that an error inside a 200 stands for, by its own code, type or status; None if it has none."""
    if isinstance(document, list):
        document = document[0] if document else None
    outer = document if isinstance(document, dict) else {}
    error = outer.get("error") if isinstance(outer.get("error"), dict) else outer
    assert isinstance(error, dict)
    said = [error.get(key) for key in ("code", "status", "status_code", "type")]
    numbers = [int(code) for code in said if isinstance(code, int | str) and re.fullmatch(r"[45]\d\d", str(code))]
    words = " ".join(code.lower() for code in said if isinstance(code, str))
    meant = (status for status, pattern in _STATUS_OF_WORD if re.search(pattern, words))
    return next(iter(numbers), None) or next(meant, None) or _status_of(error_message(document))


def _status_of(words: str) -> int | None:
    """For an error that has words and no code of its own."""
    meant = (pair for pair in _STATUS_OF_WORD if pair[0] not in (400, 500))
    return next((status for status, said in meant if re.search(said.replace("_?", "[ _]?"), words.lower())), None)


def _document(body: str) -> Document:
    body = body.lstrip("\ufeff \t\r\n")
    if not body:
        raise BadAnswer("the body is empty")
    document = joined(body) or _read(body)
    if not isinstance(document, dict):
        raise BadAnswer(f"the body is no object: {error_message(document)}", status=error_status(document))
    return document


def _read(body: str) -> object:
    """Comments of a router that kept the line open stand before some bodies."""
    text = re.sub(r"\A(?:\s*:[^\n]*\n)+", "", body)
    try:
        return read_foreign_json(text)
    except ValueError:
        pass
    try:
        return json.JSONDecoder().raw_decode(text)[0] if text.startswith("{") and len(text) < 10**6 else _none(text)
    except (ValueError, RecursionError):
        return _none(body)


def _none(body: str) -> object:
    start = " ".join(body[:400].split())[:120]
    kind = "HTML" if body.lstrip().startswith("<") else "not JSON"
    raise BadAnswer(f"the body is {kind}: {start!r}. Does the base URL end in /v1?", fault="place")


def _text(content: object) -> str:
    """Content is a string, a part with a text, or a list of parts; those of thinking are no part of the answer."""
    if isinstance(content, str):
        return content
    if isinstance(content, dict):
        content = [content]
    if isinstance(content, list):
        return "".join(_part(part) for part in content)
    return ""


def _part(part: object) -> str:
    if isinstance(part, dict):
        part = None if re.search("think|reason", str(part.get("type"))) else part.get("text")
    return part if isinstance(part, str) else ""


def _plain(text: str) -> str:
    return text.encode(errors="replace").decode()  # JSON can smuggle in half a character


def _counts(document: Document) -> Counts:
    usage = document.get("usage")
    if not isinstance(usage, dict):
        return Counts(_count(document.get("prompt_eval_count")), _count(document.get("eval_count")))
    read = _count(usage.get("prompt_tokens")), _count(usage.get("input_tokens"))
    written = _count(usage.get("completion_tokens")), _count(usage.get("output_tokens"))
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else usage.get("cache_read_input_tokens")
    return Counts(_first(read), _first(written), _usd(usage.get("cost")), _count(cached))


def _first(counts: tuple[int | None, int | None]) -> int | None:
    return next((count for count in counts if count is not None), None)


def _usd(cost: object) -> float | None:
    if isinstance(cost, bool) or not isinstance(cost, int | float):
        return None
    return float(cost) if 0 <= cost <= MAX_USD else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9 else None
