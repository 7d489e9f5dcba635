"""Reads the body of a chat completion, whatever the server made of it.

Pure. Compatible servers answer 200 with HTML, with an error object in place of choices, with content in parts, with
events in place of one object, without usage. All of it becomes either a `Completion` or one `BadAnswer` with a reason,
and usage is kept in both cases.
"""

import json
import re
from dataclasses import dataclass

from workers.proposers.foreign_json import read_foreign_json
from workers.proposers.openai_api.events import joined

MAX_USD = 1e6  # of one call; more is no cost


@dataclass(frozen=True, slots=True)
class Counts:
    """Tokens and cost as the server states them; None where it does not."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    usd: float | None = None


@dataclass(frozen=True, slots=True)
class Completion:
    text: str
    counts: Counts
    finish: str | None
    model: str | None


class BadAnswer(Exception):
    """A 200 that holds no answer of the model. `server_fault` is False when the model itself declined; `status` is the
    HTTP status that an error inside the 200 stands for, None where it names none."""

    def __init__(
        self, reason: str, counts: Counts | None = None, *, server_fault: bool = True, status: int | None = None
    ) -> None:
        super().__init__(reason)
        self.counts = counts or Counts()
        self.server_fault = server_fault
        self.status = status


def read_completion(body: str) -> Completion:
    """The first choice's text. Raises BadAnswer."""
    document = _document(body)
    counts = _counts(document.get("usage"))
    choices = document.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        error = error_message(document)
        status = error_status(document)
        raise BadAnswer(f"no choices in the answer{f': {error}' if error else ''}", counts, status=status)
    choice = choices[0]
    raw_message = choice.get("message")
    message = raw_message if isinstance(raw_message, dict) else {}
    finish = choice.get("finish_reason")
    refusal = message.get("refusal")
    if finish == "content_filter" or (isinstance(refusal, str) and refusal):
        raise BadAnswer(f"the model refused: {str(refusal or finish)[:300]}", counts, server_fault=False)
    text = _text(message.get("content")).encode(errors="replace").decode()  # JSON can smuggle in half a character
    if not text.strip():
        raise BadAnswer(f"the answer is empty (finish_reason {finish!r})", counts, server_fault=finish != "length")
    model = document.get("model")
    return Completion(
        text, counts, finish if isinstance(finish, str) else None, model if isinstance(model, str) else None
    )


def error_message(body: object) -> str:
    """The words of an error body: an object, a list of them (Gemini), a string or HTML. At most 400 characters."""
    if isinstance(body, list):
        body = body[0] if body else ""
    if isinstance(body, dict):
        error = body.get("error", body)
        body = error.get("message", error) if isinstance(error, dict) else error
    text = body if isinstance(body, str) else json.dumps(body, default=str)
    return " ".join(text.split())[:400] if text not in ("null", "{}") else ""


# What error codes and types mean as HTTP statuses, in the words of OpenAI, Anthropic and Google.
_STATUS_OF_WORD = (
    (402, "quota|billing|credit"),
    (401, "api_?key|authentication|unauthenticated"),
    (403, "permission|forbidden"),
    (404, "not_?found"),
    (429, "rate_?limit|resource_exhausted|too_many"),
    (503, "overloaded|unavailable"),
    (500, "server_error|api_error|internal"),
    (400, "invalid|context_length|bad_request"),
)


def error_status(document: object) -> int | None:
    """The HTTP status that an error inside a 200 stands for, by its own code, type or status; None if it has none."""
    if isinstance(document, list):
        document = document[0] if document else None
    error = document.get("error") if isinstance(document, dict) else None
    if not isinstance(error, dict):
        return None
    said = [error.get(key) for key in ("code", "status", "type")]
    numbers = [int(code) for code in said if isinstance(code, int | str) and re.fullmatch(r"[45]\d\d", str(code))]
    words = " ".join(code.lower() for code in said if isinstance(code, str))
    meant = (status for status, pattern in _STATUS_OF_WORD if re.search(pattern, words))
    return next(iter(numbers), None) or next(meant, None)


def _document(body: str) -> dict[str, object]:
    if not body.strip():
        raise BadAnswer("the body is empty")
    try:
        document = joined(body) or read_foreign_json(body)
    except ValueError:
        start = " ".join(body[:400].split())[:120]
        kind = "HTML" if body.lstrip().startswith("<") else "not JSON"
        raise BadAnswer(f"the body is {kind}: {start!r}. Does the base URL end in /v1?") from None
    if not isinstance(document, dict):
        raise BadAnswer(f"the body is no object: {error_message(document)}", status=error_status(document))
    return document


def _text(content: object) -> str:
    """Content is a string, or a list of parts with texts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        return "".join(text for text in texts if isinstance(text, str))
    return ""


def _counts(usage: object) -> Counts:
    if not isinstance(usage, dict):
        return Counts()
    return Counts(_count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens")), _usd(usage.get("cost")))


def _usd(cost: object) -> float | None:
    if isinstance(cost, bool) or not isinstance(cost, int | float):
        return None
    return float(cost) if 0 <= cost <= MAX_USD else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9 else None
