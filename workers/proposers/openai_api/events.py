"""A body of server-sent events: some servers stream although nobody asked them to. Pure."""

from collections.abc import Iterator

from workers.proposers.foreign_json import read_foreign_json


def joined(body: str) -> dict[str, object] | None:
    """The one completion that the events add up to, or the error that one of them holds; None if these are no events.

    Events that cannot be read are passed over, as are fields that nobody here asks for.
    """
    said: list[str] = []
    choice: dict[str, object] = {}
    whole: dict[str, object] = {}
    seen = False
    for event in _events(body):
        seen = True
        if event.get("error"):
            return event
        whole |= {key: event[key] for key in ("usage", "model") if event.get(key)}
        choices = event.get("choices")
        first = choices[0] if isinstance(choices, list) and choices else None
        if isinstance(first, dict):
            piece = first.get("delta") or first.get("message")
            content = piece.get("content") if isinstance(piece, dict) else None
            said += [content] if isinstance(content, str) else []
            choice |= {"finish_reason": first["finish_reason"]} if first.get("finish_reason") else {}
    if not seen:
        return None
    return {**whole, "choices": [{**choice, "message": {"content": "".join(said)}}]}


def _events(body: str) -> Iterator[dict[str, object]]:
    for line in body.splitlines():
        if line.startswith("data:"):
            try:
                event = read_foreign_json(line.removeprefix("data:"))
            except ValueError:
                continue  # [DONE], or a line that was cut off
            if isinstance(event, dict):
                yield event
