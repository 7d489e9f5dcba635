"""The questions and answers of one proposal, in sizes that the server takes.

A prompt that is too long is followed by one with fewer records, an answer that was cut off by a call that asks for a
longer one; both sizes are learnt. A server that read only a part of the prompt says nothing: its own count tells.
"""

import logging
from collections.abc import Callable

from workers.briefing import Briefing
from workers.proposers import ProposalFailed
from workers.proposers.openai_api.caller import Caller, CutOff, PromptRefused, Schema, Turn
from workers.proposers.openai_api.completion import Completion
from workers.proposers.openai_api.rules import Mode
from workers.proposers.openai_api.server import Message
from workers.proposers.reply import prompt_for
from workers.render import TOO_LONG_REST_S, Prompt, smallest

MAX_QUOTED_ANSWER = 16_000
MAX_CUTS = 2  # answers cut off in one turn after which the server is asked for a longer one
LONGER = 4  # times the answer that was cut off
LEAST_OUTPUT_TOKENS = 4_096  # once an answer was cut off
SHORTER = 0.75  # of a prompt that left no room for the answer
UNREAD = 0.5  # of the estimate: below that share the server has not read the whole prompt
WORTH_COUNTING = 1_000  # tokens of a prompt from which its count is looked at
LEAST_READ = 256  # no server is so small; one that says less, or nought, does not count

_log = logging.getLogger(__name__)


class Conversation:
    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def first(self, turn: Turn, briefing: Briefing, mode: Mode, schema: Schema | None = None) -> tuple[Prompt, str]:
        """The prompt and the answer to it. Raises ProposalFailed, and FormatRefused for the schema."""

        def render() -> list[Message]:
            book = self._caller.rulebook
            # What was learnt on a shorter program shuts nobody out: the shortest prompt is sent all the same.
            learnt = max(book.rules.prompt_tokens, min(smallest(briefing, mode), book.most_prompt_tokens))
            turn.prompt = prompt_for(briefing, mode, learnt)
            return _opening(turn.prompt)

        completion = self._ask(turn, briefing, mode, render, schema)
        assert turn.prompt is not None
        self._look_for_the_unread(turn, briefing, mode, completion)
        return turn.prompt, completion.text

    def then(self, turn: Turn, briefing: Briefing, prompt: Prompt, answer: str, text: str) -> str:
        """The answer to another word of ours. Raises ProposalFailed."""
        quoted: list[Message] = [
            {"role": "assistant", "content": answer[:MAX_QUOTED_ANSWER]},
            {"role": "user", "content": text},
        ]
        return self._ask(turn, briefing, None, lambda: [*_opening(prompt), *quoted]).text

    def _ask(
        self,
        turn: Turn,
        briefing: Briefing,
        mode: Mode | None,
        messages: Callable[[], list[Message]],
        schema: Schema | None = None,
    ) -> Completion:
        """`mode` None: the prompt is what it is."""
        cuts = 0
        while True:
            try:
                return self._caller.ask(turn, messages(), schema)
            except PromptRefused as refused:
                if mode is None or not self._shorten(turn, briefing, mode, refused.tokens):
                    raise ProposalFailed(refused.code, refused.detail, cooldown_s=TOO_LONG_REST_S) from None
            except CutOff as cut:
                turn.refused.append(cut.detail)
                cuts += 1
                if cuts > MAX_CUTS or not self._make_room(turn, briefing, mode, cut):
                    self._caller.breaker.failed()
                    most = self._caller.rulebook.rules.most_output_tokens
                    detail = (
                        f"{cut.detail}, and at most {most} can be asked for. Raise SWARM_LLM_MAX_OUTPUT if it is set."
                    )
                    rest_s = self._caller.breaker.remaining_s
                    raise ProposalFailed(cut.code, detail, cooldown_s=rest_s) from None

    def _shorten(self, turn: Turn, briefing: Briefing, mode: Mode, tokens: int) -> bool:
        """Whether a shorter prompt is left to try."""
        assert turn.prompt is not None
        least = smallest(briefing, mode)
        if least > 0.9 * turn.prompt.tokens:
            return False
        self._caller.rulebook.learn({"prompt_tokens": max(least, min(tokens, turn.prompt.tokens - 1))})
        return True

    def _make_room(self, turn: Turn, briefing: Briefing, mode: Mode | None, cut: CutOff) -> bool:
        """Whether the next answer may be longer than the one that was cut off."""
        rules = self._caller.rulebook.rules
        limit, written = rules.output_tokens, cut.written
        if limit is not None and written is not None and written < 0.9 * limit:  # prompt and answer share a context
            return (
                mode is not None
                and turn.prompt is not None
                and self._shorten(turn, briefing, mode, int(SHORTER * turn.prompt.tokens))
            )
        wanted = max(LEAST_OUTPUT_TOKENS, LONGER * max(limit or 0, written or 0))
        wanted = min(wanted, rules.most_output_tokens)
        if limit is not None and wanted <= limit:
            return False
        self._caller.rulebook.learn({"output_tokens": wanted})
        return True

    def _look_for_the_unread(self, turn: Turn, briefing: Briefing, mode: Mode, completion: Completion) -> None:
        prompt, counts = turn.prompt, completion.counts
        if prompt is None or counts.input_tokens is None or counts.cached_tokens:
            return
        if prompt.tokens < WORTH_COUNTING or not LEAST_READ <= counts.input_tokens < UNREAD * prompt.tokens:
            return
        words = (
            f"the server read {counts.input_tokens} tokens of a prompt of about {prompt.tokens}: it cuts prompts off"
        )
        turn.refused.append(words)
        _log.warning("%s: %s", self._caller.where, words)
        self._shorten(turn, briefing, mode, counts.input_tokens)


def _opening(prompt: Prompt) -> list[Message]:
    return [{"role": "system", "content": prompt.system}, {"role": "user", "content": prompt.user}]
