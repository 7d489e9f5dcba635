"""What an agent printed, read defensively: its last words, its usage, and whether it says that it failed.

Every format may be cut off, mixed with other lines or of a newer version; what cannot be read is passed over. An event
that means failure is believed, one that means success is not: the edited file decides.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from workers.proposers.foreign_json import read_foreign_json

MAX_MESSAGE = 60_000
MAX_USD = 1e6  # of one step; more is no cost

Event = Mapping[str, object]


@dataclass(slots=True)
class AgentOutput:
    """`message` joins all that it said. Unknown numbers are None."""

    message: str = ""
    error: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    usd: float | None = None
    model: str | None = None
    _said: list[str] = field(default_factory=list)

    def say(self, text: object) -> None:
        if isinstance(text, str):
            self._said.append(text)

    def count(self, *, read: object, written: object, usd: object = None) -> None:
        """Adds a step's numbers."""
        self.input_tokens = _plus(self.input_tokens, read)
        self.output_tokens = _plus(self.output_tokens, written)
        if isinstance(usd, int | float) and not isinstance(usd, bool) and 0 <= usd <= MAX_USD:
            self.usd = (self.usd or 0.0) + usd

    def close(self, separator: str = "\n") -> "AgentOutput":
        self.message = separator.join(self._said)[-MAX_MESSAGE:]
        return self


def read_output(kind: str, text: str) -> AgentOutput:
    """`kind` is the `output` of an AgentSpec."""
    return _READERS[kind](text)


def _text(text: str) -> AgentOutput:
    return AgentOutput(message=text[-MAX_MESSAGE:])


def _codex(text: str) -> AgentOutput:
    """`codex exec --json`. A top-level error may be a reconnection that went well, so it counts only without an end."""
    output, completed, trouble = AgentOutput(), False, ""
    for event in _events(text):
        match event.get("type"):
            case "item.completed" if _get(event, "item", "type") == "agent_message":
                output.say(_get(event, "item", "text"))
            case "turn.completed":
                completed = True
                usage = _get(event, "usage")
                output.count(read=_get(usage, "input_tokens"), written=_get(usage, "output_tokens"))
            case "turn.failed":
                output.error = _words(_get(event, "error", "message"), "the turn failed")
            case "error":
                trouble = _words(event.get("message"), "an error")
    if output.error is None and trouble and not completed:
        output.error = trouble
    return output.close()


def _claude(text: str) -> AgentOutput:
    """`claude -p --output-format stream-json`: its last line is the result."""
    output, ended = AgentOutput(), False
    for event in _events(text):
        match event.get("type"):
            case "system":
                output.model = _name(event.get("model")) or output.model
            case "assistant":
                content = _get(event, "message", "content")
                for part in content if isinstance(content, list) else ():
                    output.say(_get(part, "text"))
            case "result":
                ended = True
                usage = _get(event, "usage")
                read = [_get(usage, f"{kind}input_tokens") for kind in ("", "cache_creation_", "cache_read_")]
                known = [count for count in read if isinstance(count, int)]
                output.count(
                    read=sum(known) if known else None,
                    written=_get(usage, "output_tokens"),
                    usd=event.get("total_cost_usd"),
                )
                output.say(event.get("result"))
                if event.get("is_error"):
                    output.error = _words(event.get("result") or event.get("subtype"), "it says that it failed")
    if not ended:
        output.error = output.error or "its output ends without a result"
    return output.close()


def _gemini(text: str) -> AgentOutput:
    """`gemini -o stream-json`: assistant messages come in pieces; errors may be warnings, the result decides."""
    output = AgentOutput()
    for event in _events(text):
        match event.get("type"):
            case "init":
                output.model = _name(event.get("model"))
            case "message" if event.get("role") == "assistant":
                output.say(event.get("content"))
            case "result":
                stats = _get(event, "stats")
                output.count(read=_get(stats, "input_tokens"), written=_get(stats, "output_tokens"))
                if event.get("status") == "error":
                    output.error = _words(_get(event, "error", "message"), "it says that it failed")
    return output.close("")


def _opencode(text: str) -> AgentOutput:
    """`opencode run --format json`: tokens and cost per step; the last step's may be missing."""
    output = AgentOutput()
    for event in _events(text):
        match event.get("type"):
            case "text":
                output.say(_get(event, "part", "text"))
            case "step_finish":
                tokens = _get(event, "part", "tokens")
                output.count(
                    read=_get(tokens, "input"), written=_get(tokens, "output"), usd=_get(event, "part", "cost")
                )
            case "error":
                output.error = _words(
                    _get(event, "error", "data", "message") or _get(event, "error", "name"), "an error"
                )
    return output.close()


_READERS: Mapping[str, Callable[[str], AgentOutput]] = {
    "text": _text,
    "jsonl:codex": _codex,
    "jsonl:claude": _claude,
    "jsonl:gemini": _gemini,
    "jsonl:opencode": _opencode,
}


def _events(text: str) -> Iterator[Event]:
    for line in text.split("\n"):
        if line.lstrip().startswith("{"):
            try:
                event = read_foreign_json(line)
            except ValueError:
                continue
            if isinstance(event, dict):
                yield event


def _get(value: object, *path: str) -> object:
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _plus(total: int | None, count: object) -> int | None:
    if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count < 10**10:
        return total
    return (total or 0) + count


def _words(value: object, default: str) -> str:
    return " ".join(value.split())[:400] if isinstance(value, str) and value.strip() else default


def _name(value: object) -> str | None:
    return value[:80] if isinstance(value, str) and value else None
