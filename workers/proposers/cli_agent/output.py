"""What an agent printed, read defensively: its last words, its usage, whether it says that it failed and with which
status of its server, and which files it was kept from writing.

Every format may be cut off, mixed with other lines or of a newer version; what cannot be read is passed over. An event
that means failure is believed, one that means success is not: the edited file decides.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from workers.proposers.foreign_json import read_foreign_json

MAX_MESSAGE = 60_000
MAX_DENIED = 20
MAX_USD = 1e6  # of one step; more is no cost

Event = Mapping[str, object]

_EDITORS = frozenset({"Edit", "Write", "MultiEdit", "edit", "write", "replace", "write_file", "apply_patch"})
_STATUS = re.compile(r"\bstatus(?: code)?:? (\d{3})\b")


@dataclass(slots=True)
class AgentOutput:
    """`message` joins all that it said. Unknown numbers are None. `status`: of the answer that it failed with, or
    that it was trying again after. `denied`: files that a tool of its own did not write."""

    message: str = ""
    error: str | None = None
    status: int | None = None
    denied: list[str] = field(default_factory=list)
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

    def deny(self, path: object) -> None:
        if isinstance(path, str) and path not in self.denied and len(self.denied) < MAX_DENIED:
            self.denied.append(path[:1000])

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
            case "item.completed" if _get(event, "item", "type") == "file_change":
                changes = _get(event, "item", "changes")
                if _get(event, "item", "status") == "failed":
                    for change in changes if isinstance(changes, list) else ():
                        output.deny(_get(change, "path"))
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
    output.status = _status_in(output.error)
    return output.close()


def _claude(text: str) -> AgentOutput:
    """`claude -p --output-format stream-json`: its last line is the result."""
    output, ended, editing = AgentOutput(), False, dict[object, object]()
    for event in _events(text):
        match event.get("type"):
            case "system":
                output.model = _name(event.get("model")) or output.model
                output.status = _number(event.get("error_status")) or output.status
            case "assistant":
                output.status = None
                for part in _parts(_get(event, "message", "content")):
                    output.say(part.get("text"))
                    if part.get("name") in _EDITORS:
                        editing[str(part.get("id"))] = _get(part.get("input"), "file_path")
            case "user":
                for part in _parts(_get(event, "message", "content")):
                    if part.get("is_error"):
                        output.deny(editing.get(str(part.get("tool_use_id"))))
            case "result":
                ended = True
                _claude_result(event, output)
    if not ended:
        output.error = "its output ends without a result"
    return output.close()


def _claude_result(event: Event, output: AgentOutput) -> None:
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
        output.status = _number(event.get("api_error_status"))


def _gemini(text: str) -> AgentOutput:
    """`gemini -o stream-json`: assistant messages come in pieces; errors may be warnings, the result decides."""
    output, editing = AgentOutput(), dict[object, object]()
    for event in _events(text):
        match event.get("type"):
            case "tool_use" if event.get("tool_name") in _EDITORS:
                editing[str(event.get("tool_id"))] = _get(event, "parameters", "file_path")
            case "tool_result" if event.get("status") == "error":
                output.deny(editing.get(str(event.get("tool_id"))))
            case "init":
                output.model = _name(event.get("model"))
            case "message" if event.get("role") == "assistant":
                output.say(event.get("content"))
            case "result":
                stats = _get(event, "stats")
                output.count(read=_get(stats, "input_tokens"), written=_get(stats, "output_tokens"))
                if event.get("status") == "error":
                    output.error = _words(_get(event, "error", "message"), "it says that it failed")
                    output.status = _status_in(output.error)
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
            case "tool_use" if _get(event, "part", "tool") in _EDITORS:
                if _get(event, "part", "state", "status") == "error":
                    output.deny(_get(event, "part", "state", "input", "filePath"))
            case "error":
                said = _get(event, "error", "data", "message") or _get(event, "error", "name")
                output.error = _words(said, "an error")
                output.status = _number(_get(event, "error", "data", "statusCode"))
    return output.close()


def _aider(text: str) -> AgentOutput:
    """aider says everything on its standard output and ends with 0: a failure is the name of an exception of its client
    library, unless an edit or a count of tokens follows."""
    output, kept = AgentOutput(message=text[-MAX_MESSAGE:]), "\n"
    failures = list(_LITELLM.finditer(text))
    if failures and not _AIDER_WENT_ON.search(text, failures[-1].end()):
        kept = text[failures[-1].start() :]
        output.error, output.status = _words(kept, "an error"), _LITELLM_STATUS.get(failures[-1][1])
        if "LLM Provider NOT provided" in kept:
            output.status = 404
    for refused in _AIDER_DENIED.finditer(text):
        output.deny("".join(refused[1].split()))
    return output


_LITELLM = re.compile(r"(?m)^litellm\.(\w+):")
_AIDER_WENT_ON = re.compile(r"(?m)^(?:Tokens: |Applied edit to )")
# Its lines are broken where its terminal would end, paths too.
_AIDER_DENIED = re.compile(
    r"Unable to (?:write file|create)\s(.{1,1000}?)(?:\safter\s\d+\s+attempts|,\s+skipping)", re.S
)
_LITELLM_STATUS = {
    "AuthenticationError": 401,
    "PermissionDeniedError": 403,
    "NotFoundError": 404,
    "RateLimitError": 429,
    "BadRequestError": 400,
    "InternalServerError": 500,
    "ServiceUnavailableError": 503,
}


_READERS: Mapping[str, Callable[[str], AgentOutput]] = {
    "text": _text,
    "text:aider": _aider,
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


def _parts(content: object) -> list[Event]:
    return [part for part in content if isinstance(part, Mapping)] if isinstance(content, list) else []


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 100 <= value < 600 else None


def _status_in(words: str | None) -> int | None:
    """Of an agent that has the status in its message alone, after the word."""
    found = _STATUS.search(words or "")
    return int(found[1]) if found else None


def _plus(total: int | None, count: object) -> int | None:
    if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count < 10**10:
        return total
    return (total or 0) + count


def _words(value: object, default: str) -> str:
    return " ".join(value.split())[:400] if isinstance(value, str) and value.strip() else default


def _name(value: object) -> str | None:
    return value[:80] if isinstance(value, str) and value else None
