"""One request to a Chat Completions server by the rules that it was seen to have, with a deadline that holds.

The SDK's own retries are off: one layer retries (`caller`), on the injected clock. `body` cuts off what is too large.
Redirects are not followed: the key goes to the configured server only.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from swarm.clock import Clock
from swarm.errors import Escaped, contained
from workers.proposers.foreign_json import read_foreign_json
from workers.proposers.openai_api.completion import BadAnswer, Completion, error_message, read_completion
from workers.proposers.openai_api.cures import is_too_long
from workers.proposers.openai_api.deadline import Deadline
from workers.proposers.openai_api.failures import CallFailed, Kind, kind_of, retry_after_s
from workers.proposers.openai_api.rules import Rules
from workers.redact import Redactor

if TYPE_CHECKING:
    import httpx2

CONNECT_TIMEOUT_S = 5.0
MAX_WORDS = 4_000  # of a refusal that are looked through
GATEWAY_TIMED_OUT = (408, 499, 504, 524, 598)

Message = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Server:
    """Where to ask. `key` None is sent as a dummy: local servers want some key and ignore it.

    Whatever comes back is redacted before anything is cut out of it: a cut could halve a key and hide it.
    """

    base_url: str | None
    key: str | None
    model: str
    clock: Clock
    redact: Redactor
    headers: Mapping[str, str] = field(default_factory=dict)

    def complete(
        self,
        messages: Sequence[Message],
        rules: Rules,
        *,
        deadline_s: float,
        quiet_s: float,
        schema: Mapping[str, object] | None = None,
    ) -> Completion:
        """Raises CallFailed. Takes at most `deadline_s` seconds, plus one attempt to resolve the server's name; not
        more than `quiet_s` without a piece of an answer, which is all of it where none is streamed."""
        with Deadline(deadline_s if rules.stream == "yes" else min(deadline_s, quiet_s), quiet_s) as deadline:
            answer = contained(lambda: self._complete(messages, rules, deadline, schema), passing=(CallFailed,))
        if not isinstance(answer, Escaped):
            return answer
        kind: Kind = "config" if isinstance(answer.error, ImportError) else "down"
        detail = self.redact(deadline.explain(answer.error))[:400]
        raise CallFailed(kind, detail, timed_out=deadline.expired) from answer.error

    def _complete(
        self, messages: Sequence[Message], rules: Rules, deadline: Deadline, schema: Mapping[str, object] | None
    ) -> Completion:
        """Raises CallFailed for what the server said, and whatever the libraries raise for what it did not."""
        import httpx2
        import openai

        parameters = self._parameters(messages, rules, schema)
        sent = frozenset(parameters)
        with deadline.http_client(self.base_url) as http:
            client = openai.OpenAI(
                base_url=self.base_url + rules.path if self.base_url is not None else None,
                api_key=self.key or "not-needed",
                max_retries=0,
                default_headers=self.headers,
                timeout=httpx2.Timeout(None, connect=min(CONNECT_TIMEOUT_S, deadline.seconds)),  # the rest is its own
                http_client=http,
            )
            try:
                with client.chat.completions.with_streaming_response.create(**parameters) as response:
                    body = _decoded(b"".join(_heard(response.http_response.iter_bytes(), deadline)))
                completion = read_completion(self.redact(body))
            except BadAnswer as error:
                raise self._bad_answer(error, sent) from error
            except openai.APIStatusError as error:
                raise self._refused(error.response, sent) from error
        # What JSON had escaped is only now as the model wrote it.
        return replace(completion, text=self.redact(completion.text))

    def _parameters(
        self, messages: Sequence[Message], rules: Rules, schema: Mapping[str, object] | None
    ) -> dict[str, Any]:
        """Few parameters: compatible servers answer 400 to those that they do not know."""
        parameters: dict[str, Any] = {"model": self.model, "messages": _by_role(messages, rules)}
        if rules.output_tokens is not None:
            parameters[rules.limit_name] = rules.output_tokens
        if schema is not None:
            parameters["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "proposal", "strict": True, "schema": schema},
            }
        if rules.stream == "yes":
            parameters["stream"] = True
            if rules.counts_in_stream:
                parameters["stream_options"] = {"include_usage": True}
        return parameters

    def _bad_answer(self, error: BadAnswer, sent: frozenset[str]) -> CallFailed:
        detail = self.redact(str(error))
        kinds: dict[str, Kind] = {"server": "down", "place": "down", "model": "declined", "cut": "cut"}
        too_long = error.status is None and is_too_long(detail)
        status = 400 if too_long else error.status
        after_s = retry_after_s({}, detail, self.clock.now())
        return CallFailed(
            kinds[error.fault] if status is None else kind_of(status, detail, after_s),
            detail,
            retry_after_s=after_s,
            counts=error.counts,
            status=status or 0,
            words=detail,
            sent=sent,
            timed_out=status in GATEWAY_TIMED_OUT,
            elsewhere=error.fault == "place",
        )

    def _refused(self, response: "httpx2.Response", sent: frozenset[str]) -> CallFailed:
        status = response.status_code
        body = _document(self.redact(_decoded(response.content)))
        words = self.redact(error_message(body))
        all_words = f"{words} {json.dumps(body, default=str, ensure_ascii=False)[:MAX_WORDS]}"
        after_s = retry_after_s(response.headers, body, self.clock.now())
        detail = f"HTTP {status}{f': {words}' if words else ''}"
        if status in (301, 302, 303, 307, 308):
            detail += f" (it redirects to {self.redact(response.headers.get('location', '?'))[:200]})"
        return CallFailed(
            kind_of(status, all_words, after_s),
            detail,
            retry_after_s=after_s,
            status=status,
            words=all_words,
            sent=sent,
            timed_out=status in GATEWAY_TIMED_OUT,
            elsewhere=status in (404, 405) and "model" not in words,
        )


def may_lack_path(base_url: str | None) -> bool:
    """Whether the address names a server and nothing on it."""
    return base_url is not None and urlsplit(base_url).path in ("", "/")


def _by_role(messages: Sequence[Message], rules: Rules) -> list[Message]:
    """Instructions in the role that the server has for them, or before the first words of the user."""
    if rules.instructions == "system":
        return list(messages)
    said = [message["content"] for message in messages if message["role"] == "system"]
    others = [message for message in messages if message["role"] != "system"]
    if rules.instructions == "developer":
        return [*({"role": "developer", "content": text} for text in said), *others]
    first = {"role": "user", "content": "\n\n".join([*said, *(message["content"] for message in others[:1])])}
    return [first, *others[1:]]


def _heard(pieces: Iterator[bytes], deadline: Deadline) -> Iterator[bytes]:
    """Raises TimeoutError: a body without a length only ends when its line is shut down."""
    for piece in pieces:
        deadline.heard()
        yield piece
    if deadline.expired:
        raise TimeoutError


def _decoded(body: bytes) -> str:
    """JSON is UTF-8, whatever the header says; a few servers send UTF-16, with a mark or without."""
    return body.decode(json.detect_encoding(body), errors="replace") if body else ""


def _document(text: str) -> object:
    text = text.lstrip("\ufeff")
    if text.startswith("data:"):
        text = text.removeprefix("data:").split("\n")[0]
    try:
        return read_foreign_json(text)
    except ValueError:
        return text
