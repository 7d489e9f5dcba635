"""The four protocols that the agents speak, as far as a scripted model needs them: what was asked, and how an answer is
written. Chat Completions (aider, opencode), Responses (codex), Messages (claude) and generateContent (gemini)."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from workers.agent_check.script import Asked, Call

Document = Mapping[str, object]
TOKENS_READ, TOKENS_WRITTEN = 1000, 200


@dataclass(frozen=True, slots=True)
class Body:
    content_type: str
    text: str


def read(path: str, body: Document) -> Asked | None:
    """None for a request that is not for an answer of the model."""
    if path.endswith("/chat/completions"):
        return _read_chat(body)
    if path.endswith("/responses"):
        return _read_responses(body)
    if path.endswith("/messages"):
        return _read_messages(body)
    if "generateContent" in path.replace("G", "g"):
        return _read_gemini(path, body)
    return None


def write(path: str, asked: Asked, answer: Call | str) -> Body:
    if path.endswith("/chat/completions"):
        return _chat(asked, answer)
    if path.endswith("/responses"):
        return _responses(asked, answer)
    if path.endswith("/messages"):
        return _messages(asked, answer)
    return _gemini(asked, answer)


def refusal(status: int) -> Body:
    """As each of the servers words it, in one body: every client finds its own key."""
    word, kind, name = {
        401: ("Invalid API key", "authentication_error", "UNAUTHENTICATED"),
        429: ("Rate limit reached, try again later", "rate_limit_error", "RESOURCE_EXHAUSTED"),
    }[status]
    error = {"type": kind, "message": word, "code": status, "status": name}
    return _json({"type": "error", "error": error})


def _read_chat(body: Document) -> Asked:
    messages = _list(body.get("messages"))
    functions = [_map(_map(tool).get("function")) for tool in _list(body.get("tools"))]
    return Asked(
        text=json.dumps(messages),
        tools={str(f.get("name")): _names(f.get("parameters")) for f in functions},
        results=_calls_answered(messages, "role", "tool"),
        model=str(body.get("model")),
        streams=bool(body.get("stream")),
    )


def _chat(asked: Asked, answer: Call | str) -> Body:
    message: dict[str, object] = {"role": "assistant", "content": answer if isinstance(answer, str) else None}
    if isinstance(answer, Call):
        function = {"name": answer.tool, "arguments": json.dumps(answer.arguments)}
        message["tool_calls"] = [{"index": 0, "id": f"call_{asked.results}", "type": "function", "function": function}]
    usage = {
        "prompt_tokens": TOKENS_READ,
        "completion_tokens": TOKENS_WRITTEN,
        "total_tokens": TOKENS_READ + TOKENS_WRITTEN,
    }
    ends = "stop" if isinstance(answer, str) else "tool_calls"
    head = {"id": "c1", "created": 1, "model": asked.model}
    if not asked.streams:
        choice = {"index": 0, "finish_reason": ends, "message": message}
        return _json({**head, "object": "chat.completion", "choices": [choice], "usage": usage})
    chunk = {**head, "object": "chat.completion.chunk"}
    said = {**chunk, "choices": [{"index": 0, "delta": message, "finish_reason": None}]}
    end = {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": ends}], "usage": usage}
    return Body(
        "text/event-stream", "".join(f"data: {json.dumps(item)}\n\n" for item in (said, end)) + "data: [DONE]\n\n"
    )


def _read_responses(body: Document) -> Asked:
    items = _list(body.get("input"))
    tools = [_map(tool) for tool in _list(body.get("tools"))]
    outputs = [item for item in items if str(_map(item).get("type")).endswith("_call_output")]
    return Asked(
        text=json.dumps(items),
        tools={
            str(tool.get("name")): None if tool.get("type") == "custom" else _names(tool.get("parameters"))
            for tool in tools
        },
        results=len(outputs),
        model=str(body.get("model")),
        streams=True,
    )


def _responses(asked: Asked, answer: Call | str) -> Body:
    call = {"id": f"i{asked.results}", "call_id": f"call_{asked.results}", "status": "completed"}
    item: dict[str, object]
    if isinstance(answer, str):
        content = [{"type": "output_text", "text": answer, "annotations": []}]
        item = {"type": "message", "id": "m1", "role": "assistant", "status": "completed", "content": content}
    elif isinstance(answer.arguments, str):
        item = {"type": "custom_tool_call", **call, "name": answer.tool, "input": answer.arguments}
    else:
        item = {"type": "function_call", **call, "name": answer.tool, "arguments": json.dumps(answer.arguments)}
    usage = {
        "input_tokens": TOKENS_READ,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": TOKENS_WRITTEN,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": TOKENS_READ + TOKENS_WRITTEN,
    }
    response = {"id": f"r{asked.results}", "object": "response", "created_at": 1, "model": asked.model}
    return _events(
        ("response.created", {"response": {**response, "status": "in_progress", "output": []}}),
        ("response.output_item.added", {"output_index": 0, "item": item}),
        ("response.output_item.done", {"output_index": 0, "item": item}),
        ("response.completed", {"response": {**response, "status": "completed", "output": [item], "usage": usage}}),
    )


def _read_messages(body: Document) -> Asked:
    messages = _list(body.get("messages"))
    parts = [part for message in messages for part in _list(_map(message).get("content"))]
    tools = [_map(tool) for tool in _list(body.get("tools"))]
    return Asked(
        text=json.dumps(messages),
        tools={str(tool.get("name")): _names(tool.get("input_schema")) for tool in tools},
        results=_calls_answered(parts, "type", "tool_result"),
        model=str(body.get("model")),
        streams=bool(body.get("stream")),
    )


def _messages(asked: Asked, answer: Call | str) -> Body:
    block: dict[str, object]
    empty: dict[str, object]
    delta: dict[str, object]
    if isinstance(answer, str):
        block, empty = {"type": "text", "text": answer}, {"type": "text", "text": ""}
        delta = {"type": "text_delta", "text": answer}
    else:
        block = {"type": "tool_use", "id": f"toolu_{asked.results}", "name": answer.tool, "input": answer.arguments}
        empty = {**block, "input": {}}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(answer.arguments)}
    ends = "end_turn" if isinstance(answer, str) else "tool_use"
    usage = {"input_tokens": TOKENS_READ, "output_tokens": TOKENS_WRITTEN}
    message = {"id": f"msg_{asked.results}", "type": "message", "role": "assistant", "model": asked.model}
    if not asked.streams:
        return _json({**message, "content": [block], "stop_reason": ends, "stop_sequence": None, "usage": usage})
    opened: dict[str, object] = {**message, "content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
    return _events(
        ("message_start", {"message": opened}),
        ("content_block_start", {"index": 0, "content_block": empty}),
        ("content_block_delta", {"index": 0, "delta": delta}),
        ("content_block_stop", {"index": 0}),
        ("message_delta", {"delta": {"stop_reason": ends, "stop_sequence": None}, "usage": usage}),
        ("message_stop", {}),
    )


def _read_gemini(path: str, body: Document) -> Asked:
    contents = _list(body.get("contents"))
    parts = [_map(part) for content in contents for part in _list(_map(content).get("parts"))]
    declared = [
        _map(function)
        for tool in _list(body.get("tools"))
        for function in _list(_map(tool).get("functionDeclarations"))
    ]
    return Asked(
        text=json.dumps(contents),
        tools={
            str(function.get("name")): _names(function.get("parametersJsonSchema") or function.get("parameters"))
            for function in declared
        },
        results=sum("functionResponse" in part for part in parts),
        model=path.rpartition("/")[2].partition(":")[0],
        streams="stream" in path,
    )


def _gemini(asked: Asked, answer: Call | str) -> Body:
    if isinstance(answer, str):
        part: dict[str, object] = {"text": answer}
    else:
        part = {"functionCall": {"name": answer.tool, "args": answer.arguments}}
    usage = {
        "promptTokenCount": TOKENS_READ,
        "candidatesTokenCount": TOKENS_WRITTEN,
        "totalTokenCount": TOKENS_READ + TOKENS_WRITTEN,
    }
    candidate = {"index": 0, "finishReason": "STOP", "content": {"role": "model", "parts": [part]}}
    document = {"candidates": [candidate], "usageMetadata": usage, "modelVersion": asked.model, "responseId": "r1"}
    return Body("text/event-stream", f"data: {json.dumps(document)}\n\n") if asked.streams else _json(document)


def _events(*events: tuple[str, dict[str, object]]) -> Body:
    lines = [f"event: {name}\ndata: {json.dumps({'type': name, **fields})}\n\n" for name, fields in events]
    return Body("text/event-stream", "".join(lines))


def _json(document: Document) -> Body:
    return Body("application/json", json.dumps(document))


def _names(schema: object) -> tuple[str, ...]:
    return tuple(_map(_map(schema).get("properties")))


def _calls_answered(items: Iterable[object], key: str, value: str) -> int:
    return sum(_map(item).get(key) == value for item in items)


def _map(value: object) -> Document:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
