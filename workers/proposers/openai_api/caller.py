"""Calls of one server within the limits: ceilings before, cures, retries and breaker around, usage and words after.

What a server refuses with a cure in its words is asked again at once in the way that it wants, and so from then on. A
call that waited for a whole answer in vain is streamed from then on: who sees an answer coming may wait for longer.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from swarm.clock import Clock
from swarm.records import Usage, one_line
from workers.proposers import ProposalFailed
from workers.proposers.breaker import Breaker
from workers.proposers.openai_api.completion import Completion, Counts
from workers.proposers.openai_api.cures import cures, shorter_prompt
from workers.proposers.openai_api.failures import CallFailed
from workers.proposers.openai_api.rules import RuleBook
from workers.proposers.openai_api.server import Message, Server, may_lack_path
from workers.proposers.spending import SpendLimit
from workers.proposers.transcript import Transcripts
from workers.redact import Redactor
from workers.render import Prompt, estimate_tokens

MAX_RETRIES = 3  # of one call, for a server that is busy or down
MAX_CURES = 8  # of one call; each is taken once, so this many are never needed
CALL_TIMEOUT_S = 120.0  # without a word
PATIENCE_WITH_A_STREAM = 2.5  # times the deadline of a proposal
LONGEST_WAIT_S = 60.0  # a longer Retry-After becomes the worker's cool-down
LONGEST_REST_S = 3600.0  # whatever a server says
EXPECTED_OUTPUT_TOKENS = 3_000  # for the ceilings, before a call whose answer has no limit of its own
QUOTA_COOLDOWN_S = 1800.0

Schema = Mapping[str, object]


class FormatRefused(Exception):
    """The server does not take a schema."""


class PromptRefused(ProposalFailed):
    """The messages do not fit the model's context. `tokens`: what may fit, by our estimate."""

    def __init__(self, detail: str, tokens: int) -> None:
        super().__init__("llm_failed", detail)
        self.tokens = tokens


class CutOff(ProposalFailed):
    """The answer ended at a limit of tokens before it was whole."""

    def __init__(self, detail: str, written: int | None) -> None:
        super().__init__("llm_failed", detail)
        self.written = written


@dataclass(slots=True)
class Turn:
    """The calls of one proposal: it begins at `started` on the monotonic clock and has `seconds`; only answered calls
    have a usage. `refused` has a sentence for each answer that did not do.
    """

    started: float
    seconds: float
    prompt: Prompt | None = None  # the last
    usages: list[Usage] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Caller:
    server: Server
    rulebook: RuleBook
    clock: Clock
    redact: Redactor
    transcripts: Transcripts
    spend_limit: SpendLimit
    breaker: Breaker

    def ask(self, turn: Turn, messages: Sequence[Message], schema: Schema | None = None) -> Completion:
        """One whole answer, without secrets; retries a busy or failing server within the turn's deadline.

        Raises ProposalFailed, PromptRefused when the prompt is too long, CutOff when the answer is not whole, and
        FormatRefused when the server does not take the schema.
        """
        safe = [{**message, "content": self.redact(message["content"])} for message in messages]
        attempt = cured = 0
        last = ""
        while True:
            self._check(turn, safe, last)
            try:
                return self._whole(self._call(turn, safe, schema))
            except CallFailed as failure:
                last = f": {failure.detail}"
                if failure.counts != Counts():  # the model has answered, if only with nothing
                    turn.refused.append(failure.detail)
                if cured < MAX_CURES and self._cure(failure):
                    cured += 1
                    if schema is not None and not self.rulebook.rules.takes_schema:
                        raise FormatRefused from failure
                    continue
                attempt += 1
                self._wait(self._retryable(failure, safe), attempt, self._deadline(turn))

    @property
    def where(self) -> str:
        return self.server.base_url or "api.openai.com"

    def _deadline(self, turn: Turn) -> float:
        more = PATIENCE_WITH_A_STREAM if self.rulebook.rules.stream == "yes" else 1.0
        return turn.started + more * turn.seconds

    def _check(self, turn: Turn, messages: Sequence[Message], last: str) -> None:
        """Raises ProposalFailed if no call may be made now; `last` is what came of the one before."""
        self.breaker.check(self.where)
        if self.clock.monotonic() >= self._deadline(turn):
            raise ProposalFailed("llm_failed", f"{self.where} took too long for one proposal{last}")
        asked = sum(estimate_tokens(message["content"]) for message in messages)
        answered = self.rulebook.rules.output_tokens or EXPECTED_OUTPUT_TOKENS
        self.spend_limit.check(tokens=asked + answered, usd=self._price(asked, answered))

    def _call(self, turn: Turn, messages: Sequence[Message], schema: Schema | None) -> Completion:
        started = self.clock.monotonic()
        try:
            completion = self.server.complete(
                messages,
                self.rulebook.rules,
                deadline_s=self._deadline(turn) - started,
                quiet_s=CALL_TIMEOUT_S,
                schema=schema,
            )
        except CallFailed as failure:
            usage = self._count(turn, failure.counts, started) if failure.counts != Counts() else None
            self._write(messages, usage, {"failed": failure.kind, "detail": failure.detail})
            raise
        usage = self._count(turn, completion.counts, started, completion)
        thinking = {"thinking": completion.thinking} if completion.thinking else {}
        self._write(messages, usage, {**thinking, "answer": completion.text, "finish": completion.finish})
        self.breaker.succeeded()
        return completion

    def _whole(self, completion: Completion) -> Completion:
        if completion.cut:
            written = completion.counts.output_tokens
            raise CutOff(_cut_words(self.where, written, self.rulebook.rules.output_tokens), written)
        return completion

    def _cure(self, failure: CallFailed) -> bool:
        """Whether something was learnt that makes another attempt sensible."""
        rules = self.rulebook.rules
        found = cures(rules, failure.status, failure.words, failure.sent)
        if failure.timed_out and rules.stream == "no":
            found = {"stream": "yes"}
        if failure.elsewhere and rules.path == "" and may_lack_path(self.server.base_url):
            found = {"path": "/v1"}
        if found:
            self.rulebook.learn(found)
        return bool(found)

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
                "server": self.where,
                "model": self.server.model,
                "messages": list(messages),
                **outcome,
                "usage": usage.model_dump() if usage else None,
            }
        )

    def _retryable(self, failure: CallFailed, messages: Sequence[Message]) -> CallFailed:
        """The same failure if another attempt may help, counted against the server; else raises ProposalFailed."""
        detail = f"{self.where}: {failure.detail}"
        match failure.kind:
            case "auth":
                remedy = "Set OPENAI_API_KEY to a key of this server, or OPENAI_BASE_URL to the server of your key."
                self.breaker.refused("llm_auth", f"{detail}. {remedy}")
            case "config":
                remedy = f"Check the model's name, {self.server.model}, and OPENAI_BASE_URL."
                self.breaker.refused("llm_config", f"{detail}. {remedy}")
            case "quota":
                rest_s = min(LONGEST_REST_S, failure.retry_after_s or QUOTA_COOLDOWN_S)
                raise ProposalFailed("llm_quota", detail, cooldown_s=rest_s)
            case "declined":
                raise ProposalFailed("llm_failed", detail)
            case "too_long":
                asked = sum(estimate_tokens(message["content"]) for message in messages)
                raise PromptRefused(detail, shorter_prompt(failure.words, asked))
            case "cut":
                raise CutOff(detail, failure.counts.output_tokens)
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
            detail = f"{self.where}: {failure.detail}"
            raise ProposalFailed(code, detail, cooldown_s=min(LONGEST_REST_S, max(self.breaker.remaining_s, wait_s)))
        self.clock.sleep(wait_s)

    def _price(self, input_tokens: int | None, output_tokens: int | None) -> float | None:
        server = self.server
        return self.spend_limit.price(input_tokens, output_tokens, model=server.model, base_url=server.base_url)


def _cut_words(where: str, written: int | None, limit: int | None) -> str:
    tokens = f" after {written} tokens" if written is not None else ""
    asked = f"; {limit} were asked for" if limit is not None else ""
    return f"{where}: the answer was cut off{tokens}{asked}"
