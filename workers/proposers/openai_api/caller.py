"""Calls of one server within the limits: ceilings before, retries and breaker around, usage and transcript after."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from swarm.clock import Clock
from swarm.records import Usage, one_line
from workers.proposers import ProposalFailed
from workers.proposers.breaker import Breaker
from workers.proposers.openai_api.completion import Completion, Counts
from workers.proposers.openai_api.server import CallFailed, Message, Server
from workers.proposers.spending import SpendLimit
from workers.proposers.transcript import Transcripts
from workers.redact import Redactor
from workers.render import Prompt, estimate_tokens

MAX_RETRIES = 3  # of one call, for a server that is busy or down
CALL_TIMEOUT_S = 120.0
LONGEST_WAIT_S = 60.0  # a longer Retry-After becomes the worker's cool-down
EXPECTED_OUTPUT_TOKENS = 3_000  # for the ceilings, before a call whose answer has no limit of its own
QUOTA_COOLDOWN_S = 1800.0

Schema = Mapping[str, object]


class FormatRefused(Exception):
    """The server does not take a schema."""


class PromptRefused(ProposalFailed):
    """The messages do not fit the model's context; shorter ones may."""


@dataclass(slots=True)
class Turn:
    """The calls of one proposal. `deadline` is on the monotonic clock; only answered calls have a usage.

    `refused` has a sentence for each answer that did not do.
    """

    deadline: float
    prompt: Prompt | None = None  # the last
    usages: list[Usage] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Caller:
    server: Server
    clock: Clock
    redact: Redactor
    transcripts: Transcripts
    spend_limit: SpendLimit
    breaker: Breaker

    def ask(self, turn: Turn, messages: Sequence[Message], schema: Schema | None = None) -> str:
        """The text of one answer, without secrets; retries a busy or failing server within the turn's deadline.

        Raises ProposalFailed, PromptRefused when it is too long, and FormatRefused when the server blames the schema.
        """
        safe = [{**message, "content": self.redact(message["content"])} for message in messages]
        attempt = 0
        while True:
            self._check(turn, safe)
            try:
                return self._call(turn, safe, schema).text
            except CallFailed as failure:
                if failure.counts != Counts():  # the model has answered, if only with nothing
                    turn.refused.append(failure.detail)
                if failure.about_format and schema is not None:
                    raise FormatRefused from failure
                attempt += 1
                self._wait(self._retryable(failure), attempt, turn.deadline)

    def _check(self, turn: Turn, messages: Sequence[Message]) -> None:
        """Raises ProposalFailed if no call may be made now."""
        self.breaker.check(self._where)
        if self.clock.monotonic() >= turn.deadline:
            raise ProposalFailed("llm_failed", f"{self._where} took too long for one proposal")
        asked = sum(estimate_tokens(message["content"]) for message in messages)
        answered = self.server.max_output_tokens or EXPECTED_OUTPUT_TOKENS
        self.spend_limit.check(tokens=asked + answered, usd=self._price(asked, answered))

    def _call(self, turn: Turn, messages: Sequence[Message], schema: Schema | None) -> Completion:
        started = self.clock.monotonic()
        limit_s = min(CALL_TIMEOUT_S, turn.deadline - started)
        try:
            completion = self.server.complete(messages, deadline_s=limit_s, schema=schema)
        except CallFailed as failure:
            usage = self._count(turn, failure.counts, started) if failure.counts != Counts() else None
            self._write(messages, usage, {"failed": failure.kind, "detail": failure.detail})
            raise
        usage = self._count(turn, completion.counts, started, completion)
        self._write(messages, usage, {"answer": completion.text, "finish": completion.finish})
        self.breaker.succeeded()
        return completion

    def _count(self, turn: Turn, counts: Counts, started: float, completion: Completion | None = None) -> Usage:
        usd = counts.usd if counts.usd is not None else self._price(counts.input_tokens, counts.output_tokens)
        model = completion.model if completion else None
        usage = Usage(
            model=one_line(model, 80) if model else self.server.model,
            input_tokens=counts.input_tokens,
            output_tokens=counts.output_tokens,
            usd=usd,
            seconds=round(self.clock.monotonic() - started, 3),
        )
        turn.usages.append(usage)
        self.spend_limit.record(usage)
        return usage

    def _write(self, messages: Sequence[Message], usage: Usage | None, outcome: Mapping[str, object]) -> None:
        self.transcripts.write(
            {
                "at": self.clock.now(),
                "server": self._where,
                "model": self.server.model,
                "messages": list(messages),
                **outcome,
                "usage": usage.model_dump() if usage else None,
            }
        )

    def _retryable(self, failure: CallFailed) -> CallFailed:
        """The same failure if another attempt may help, counted against the server; else raises ProposalFailed."""
        detail = f"{self._where}: {failure.detail}"
        match failure.kind:
            case "auth":
                remedy = "Set OPENAI_API_KEY to a key of this server, or OPENAI_BASE_URL to the server of your key."
                self.breaker.refused("llm_auth", f"{detail}. {remedy}")
            case "config":
                remedy = f"Check the model's name, {self.server.model}, and OPENAI_BASE_URL."
                self.breaker.refused("llm_config", f"{detail}. {remedy}")
            case "quota":
                raise ProposalFailed("llm_quota", detail, cooldown_s=failure.retry_after_s or QUOTA_COOLDOWN_S)
            case "declined":
                raise ProposalFailed("llm_failed", detail)
            case "too_long":
                raise PromptRefused("llm_failed", detail)
        self.breaker.failed()
        if failure.kind == "rejected":
            raise ProposalFailed("llm_failed", detail, cooldown_s=self.breaker.remaining_s)
        return failure

    def _wait(self, failure: CallFailed, attempt: int, deadline: float) -> None:
        """Sleeps until the next attempt, as the server says or with jittered doubling; raises if there is none."""
        code = "llm_rate_limited" if failure.kind == "busy" else "llm_failed"
        backoff_s = min(30.0, 0.5 * 2.0**attempt) * random.uniform(0.75, 1.25)
        wait_s = failure.retry_after_s if failure.retry_after_s is not None else backoff_s
        too_late = wait_s > LONGEST_WAIT_S or self.clock.monotonic() + wait_s >= deadline
        if too_late or attempt > MAX_RETRIES or self.breaker.remaining_s > 0:
            detail = f"{self._where}: {failure.detail}"
            raise ProposalFailed(code, detail, cooldown_s=max(self.breaker.remaining_s, wait_s))
        self.clock.sleep(wait_s)

    def _price(self, input_tokens: int | None, output_tokens: int | None) -> float | None:
        server = self.server
        return self.spend_limit.price(input_tokens, output_tokens, model=server.model, base_url=server.base_url)

    @property
    def _where(self) -> str:
        return self.server.base_url or "api.openai.com"
