"""A STAND-IN for a language model: a script behind a real Chat Completions server on the loopback interface.

It is no model and knows no language. It has what prompts are made for: it copies what examples show, needs to be told
the labels and the house's rules, chats unless told not to, slips more at a higher temperature, loses the thread in a
long prompt, and answers the message that it has read last. So its accuracy depends on the prompt, the same way each
time: a slip is drawn from the message, the prompt and the seed. No number that it gives says anything about a model.
"""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from drawing import CUES, DANGERS, LABELS, URGENT

KNOWN = 6  # of the phrases of each department; the others it learns from examples
LONG = 1100  # characters, from which on it loses the thread
_OWN_WORDS = dict(zip(LABELS, ("payments", "shipping", "service", "profile", "safety"), strict=True))
_BARE = re.compile(r"(?i)\b(one word|only the|just the|nothing else|label only|single word)\b")
_BUT = re.compile(r"(?i)(follows|after) [\"'“]?but\b|last part|what is asked for|actual problem")
_DANGER = re.compile(r"(?i)\b(smoke|sparks?|burns?|burnt|fire|danger|safety|hazards?)\b")
_STEPS = re.compile(r"(?i)\bstep by step\b")
_QUESTION = re.compile(r"^.*#\d{6}.*$", re.MULTILINE)


def reply_to(messages: list[dict[str, str]], temperature: float, reply_tokens: int, seed: int) -> str:
    """What it says: `reply_tokens` words at most."""
    prompt = "\n".join(message["content"] for message in messages)
    asked = list(_QUESTION.finditer(prompt))
    if not asked:
        return "How can I help you?"
    question = asked[-1][0].removeprefix("Message:").strip()
    rest = prompt[: asked[-1].start()] + prompt[asked[-1].end() :]

    def chance(what: str, *more: object) -> float:
        text = "/".join(map(str, (what, question, *more)))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big") / 2**48

    thinks = _STEPS.search(rest) is not None
    label = _read(question, rest, chance("reading"), thinks=thinks)
    slip = 0.02 + 0.3 * min(temperature, 2.0) ** 1.5 + max(0, len(prompt) - LONG) / 12_000
    drawn = (rest, seed if temperature > 0 else 0)
    if chance("slip", *drawn) < slip:
        label = LABELS[int(chance("to", *drawn) * len(LABELS))]
    word = label if re.search(rf"\b{label}\b", rest) else _OWN_WORDS[label]
    if thinks:
        text = f"The customer writes about an order and names a matter that is for one department.\n{word}"
    elif _BARE.search(rest) or chance("bare") < 0.3 * (len(asked) - 1):
        text = word
    else:
        text = f"This message should go to {word}.\nIs there anything else?"
    return _cut(text, reply_tokens)


def _read(question: str, rest: str, luck: float, *, thinks: bool) -> str:
    """The label that it understands; `luck` in [0, 1) decides where it is not sure."""
    text = question.casefold()
    if any(danger.casefold() in text for danger in DANGERS) and _DANGER.search(rest):
        return URGENT
    said = [(label, cue) for label, cues in CUES.items() for cue in cues if cue.casefold() in text]
    found = [label for label, cue in said if _knows(cue, label, rest) or (thinks and luck > 0.6)]
    told = _BUT.search(rest) is not None
    if " but " in text and not (told or thinks) and luck < 0.5:
        found = []  # it reads what stands before
    if found:
        return found[0]
    return list(CUES)[int(luck * 7919) % len(CUES)]


def _knows(cue: str, label: str, rest: str) -> bool:
    return cue in CUES[label][:KNOWN] or cue.casefold() in rest.casefold()


def _cut(text: str, words: int) -> str:
    ends = [match.end() for match in re.finditer(r"\S+", text)][:words]
    return text[: ends[-1]] if ends else ""


@contextmanager
def serving() -> Iterator[str]:
    """The base URL while it serves."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)))
        text = reply_to(asked["messages"], asked["temperature"], asked["max_tokens"], asked["seed"])
        told = sum(len(message["content"]) for message in asked["messages"])
        usage = {"prompt_tokens": told // 4, "completion_tokens": len(text) // 4}
        usage["total_tokens"] = sum(usage.values())
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        fields = {"id": "1", "object": "chat.completion", "created": 1, "model": "stand-in", "choices": [choice]}
        body = json.dumps({**fields, "usage": usage}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        pass


if __name__ == "__main__":
    with serving() as address:
        print(f"{address} (a stand-in, no model)", flush=True)
        threading.Event().wait()
