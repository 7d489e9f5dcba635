"""A body of events: asked for, or because some servers stream although nobody asked them to. Pure."""

from collections.abc import Iterator

from workers.proposers.foreign_json import read_foreign_json

_TEXTS = ("content", "reasoning_content", "reasoning", "refusal")


def joined(body: str) -> dict[str, object] | None:
    """The one completion that the events add up to, or the error that one of them holds; None if these are no events.

    Events that cannot be read are passed over, as are fields that nobody here asks for. Where neither a reason for the
    end nor an end was sent, the line was cut: then it is an error of the server.
    """
    said: dict[str, list[str]] = {name: [] for name in _TEXTS}
    whole: dict[str, object] = {}
    finish: object = None
    seen, ended, tools = False, False, False
    for event in _events(body):
        if event is None:
            ended = True
            continue
        seen = True
        if event.get("error") or (event.get("object") == "error" and "choices" not in event):
            return event
        whole |= {key: event[key] for key in ("usage", "model") if event.get(key)}
        first = _first(event)
        if first is None:
            continue
        if first.get("error"):
            return {**whole, "choices": [first]}
        finish = first.get("finish_reason") or finish
        piece = first.get("delta") or first.get("message") or {"content": first.get("text")}
        if isinstance(piece, dict):
            tools = tools or bool(piece.get("tool_calls"))
            for name in _TEXTS:
                said[name] += _texts(piece.get(name))
    if not seen:
        return {"choices": []} if ended else None
    if not ended and finish is None:
        return {**whole, "error": {"code": 502, "message": "the stream of events broke off"}}
    message: dict[str, object] = {name: "".join(texts) for name, texts in said.items() if texts}
    return {**whole, "choices": [{"finish_reason": finish, "message": {**message, "tool_calls": tools}}]}


def _first(event: dict[str, object]) -> dict[str, object] | None:
    """The event's part of the first choice; there may be others beside it."""
    choices = event.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict) and choice.get("index") in (0, None):
            return choice
    return None


def _texts(content: object) -> list[str]:
    if isinstance(content, list):
        parts = [part for part in content if isinstance(part, dict) and part.get("type") in ("text", None)]
        content = "".join(text for part in parts if isinstance(text := part.get("text"), str))
    return [content] if isinstance(content, str) else []


def _events(body: str) -> Iterator[dict[str, object] | None]:
    """Each event, and None for the end. A line may hold an event without its name, as long as all of them do."""
    lines = [line for line in body.replace("\r\n", "\n").replace("\r", "\n").split("\n") if line.strip()]
    bare = len(lines) > 1 and all(line.startswith("{") and line.rstrip().endswith("}") for line in lines)
    for line in lines:
        if line.startswith("data:") or bare:
            text = line.removeprefix("data:").strip()
            if text == "[DONE]":
                yield None
                continue
            try:
                event = read_foreign_json(text)
            except ValueError:
                continue  # a line that was cut off
            if isinstance(event, dict):
                yield event
