"""From a briefing to a proposal by way of a language model, in at most a few calls.

The ladder of one proposal: an answer in envelope mode (a JSON header and SEARCH/REPLACE blocks as plain text, which
works on every server), or in schema mode if asked for; if it does not apply, one repair turn that quotes the nearest
real lines; then the whole file; then ProposalFailed. What the server wants is learnt once for the study, for all
workers and over restarts (`rules`): a model that rejects or ignores the schema loses schema mode, for one.

ProposalFailed codes: `llm_failed` (no usable answer, or no server), `llm_rate_limited`, `llm_quota` (no money there),
`llm_budget` (a ceiling of ours), `llm_auth` and `llm_config` (refused: asked again after a rest, longer each time),
`llm_unfinished` (the study ended first).

Not promised: that a cost is known (it then is None), and that calls by several workers at the same moment stop exactly
at a ceiling.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from swarm.clock import Clock, SystemClock
from swarm.errors import UsageError
from swarm.records import Proposal
from swarm.study.model_server import tidy_url
from swarm.study.usage import total_usage
from workers.briefing import Briefing
from workers.proposers import ProposalFailed
from workers.proposers.breaker import Breaker
from workers.proposers.edits import EditFailed
from workers.proposers.openai_api.caller import Caller, FormatRefused, Turn
from workers.proposers.openai_api.conversation import Conversation
from workers.proposers.openai_api.environment import Choice, chosen
from workers.proposers.openai_api.rules import MOST_OUTPUT_TOKENS, Mode, RuleBook, Rules
from workers.proposers.openai_api.schema import SCHEMA
from workers.proposers.openai_api.server import Server
from workers.proposers.reply import Draft, Header, parse_header, read_envelope, read_schema, to_proposal
from workers.proposers.requests import Asked, request_in
from workers.proposers.spending import SpendLimit
from workers.proposers.transcript import Transcripts
from workers.redact import Redactor
from workers.render import DEFAULT_MAX_TOKENS, repair_text, whole_file_text

MAX_REASON = 300


class OpenAIProposer:
    """One model on one server.

    `deadline_s` bounds a whole proposal, waits and repair turns included; where answers are streamed it may take two
    and a half times as long (`caller`). `transcripts` is a folder for redacted records of each call, `learnt` one for
    what is learnt of servers. The key is kept by this object alone and appears in nothing that it writes or returns.
    Raises UsageError for OpenAI's own server without a key; other servers may need none.
    """

    def __init__(
        self,
        *,
        model: str,
        base_url: str | None = None,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        clock: Clock | None = None,
        mode: Mode = "envelope",
        deadline_s: float = 240.0,
        spend_limit: SpendLimit | None = None,
        transcripts: Path | None = None,
        learnt: Path | None = None,
        max_prompt_tokens: int = DEFAULT_MAX_TOKENS,
        max_output_tokens: int | None = None,
    ) -> None:
        base_url = tidy_url(base_url)
        if key is None and base_url is None:
            raise UsageError("no key for api.openai.com: set OPENAI_API_KEY, or OPENAI_BASE_URL for a local server")
        self._clock = clock or SystemClock()
        self._model = model
        self._asked_mode = mode
        self._deadline_s = deadline_s
        self._turn = Turn(0.0, 0.0)  # the latest
        self._redact = Redactor([key or "", *(headers or {}).values()])
        self._rulebook = RuleBook(
            learnt,
            base_url,
            model,
            Rules(
                prompt_tokens=max_prompt_tokens,
                output_tokens=max_output_tokens,
                most_output_tokens=max_output_tokens or MOST_OUTPUT_TOKENS,
            ),
        )
        self._conversation = Conversation(
            Caller(
                server=Server(base_url, key, model, self._clock, self._redact, headers or {}),
                rulebook=self._rulebook,
                clock=self._clock,
                redact=self._redact,
                transcripts=Transcripts(transcripts, self._redact),
                spend_limit=spend_limit or SpendLimit(),
                breaker=Breaker(self._clock),
            )
        )

    @classmethod
    def from_environment(
        cls,
        secrets: Mapping[str, str],
        environ: Mapping[str, str],
        *,
        model: str | None = None,
        base_url: str | None = None,
        clock: Clock | None = None,
        spend_limit: SpendLimit | None = None,
        transcripts: Path | None = None,
        learnt: Path | None = None,
    ) -> "OpenAIProposer":
        """`secrets` come from `take_secrets`; flags win over SWARM_MODEL and OPENAI_BASE_URL.

        SWARM_LLM_MODE=schema asks the server for JSON by a schema. SWARM_LLM_MAX_PROMPT and SWARM_LLM_MAX_OUTPUT bound
        prompt and answer in tokens, for small models with a short context that do not know when to stop. Raises
        UsageError.
        """
        choice = chosen(secrets, environ, model=model, base_url=base_url)
        return cls(**_fields(choice), clock=clock, spend_limit=spend_limit, transcripts=transcripts, learnt=learnt)

    @property
    def name(self) -> str:
        return f"openai:{self._model}"

    @property
    def mode(self) -> Mode:
        """Schema mode only as long as the server has kept to it."""
        return self._asked_mode if self._rulebook.rules.takes_schema else "envelope"

    def propose(self, briefing: Briefing) -> Proposal:
        """Raises ProposalFailed, and Asked where the briefing allows it."""
        self._turn = turn = Turn(self._clock.monotonic(), self._deadline_s)
        try:
            draft = self._by_schema(turn, briefing) if self.mode == "schema" else None
            draft = draft or self._by_envelope(turn, briefing)
        except ProposalFailed as failure:
            raise self._in_all(turn, failure.code, failure.detail, failure.cooldown_s) from None
        except Asked as asked:
            raise Asked(asked.request, total_usage(turn.usages)) from None
        return to_proposal(
            draft,
            briefing,
            proposer=self.name,
            usage=total_usage(turn.usages),
            redact=self._redact,
            prompt=turn.prompt,
        )

    def so_far(self) -> ProposalFailed:
        """Code `llm_unfinished`. An answer that is still on its way counts for nothing. From any thread."""
        return self._in_all(self._turn, "llm_unfinished", "the study ended before the proposal was made")

    def _in_all(self, turn: Turn, code: str, detail: str, cooldown_s: float = 0.0) -> ProposalFailed:
        """The failure with the price and the reasons of all answers of the turn."""
        in_all = self._redact(detail + _reasons(tuple(turn.refused)))
        return ProposalFailed(code, in_all, usage=total_usage(tuple(turn.usages)), cooldown_s=cooldown_s)

    def _by_envelope(self, turn: Turn, briefing: Briefing) -> Draft:
        prompt, answer = self._conversation.first(turn, briefing, "envelope")
        if briefing.may_ask and (request := request_in(answer, briefing.editable)) is not None:
            raise Asked(request, None)
        known: Header | None = None
        for follow_up in (repair_text, whole_file_text, None):
            try:
                draft = read_envelope(answer, briefing, known)
                if draft.header is None and follow_up is repair_text:  # sent back once; after that the edit counts
                    raise EditFailed("the JSON header with the hypothesis is missing.")
                return draft
            except EditFailed as failure:
                turn.refused.append(str(failure))
            if follow_up is not None:
                known = parse_header(answer) or known
                follow_up_text = follow_up(turn.refused[-1], briefing.editable)
                answer = self._conversation.then(turn, briefing, prompt, answer, follow_up_text)
        raise ProposalFailed("llm_failed", f"no answer of {len(turn.refused)} could be applied")

    def _by_schema(self, turn: Turn, briefing: Briefing) -> Draft | None:
        """None when the answer does not do; the envelope follows. A server without the mode is not asked again."""
        try:
            _, answer = self._conversation.first(turn, briefing, "schema", SCHEMA)
        except FormatRefused:
            return None
        try:
            return read_schema(answer, briefing)
        except EditFailed as failure:
            turn.refused.append(str(failure))
            if not answer.lstrip().startswith("{"):
                self._rulebook.learn({"takes_schema": False})  # accepted and ignored, as some servers do
            return None


def _reasons(refused: Sequence[str]) -> str:
    """Why each answer of a proposal did not do, for the record of its failure."""
    listed = " ".join(f"({place}) {reason[:MAX_REASON]}" for place, reason in enumerate(refused, 1))
    return f"; answers: {listed}" if listed else ""


def _fields(choice: Choice) -> dict[str, Any]:
    return {one.name: getattr(choice, one.name) for one in fields(choice)}
