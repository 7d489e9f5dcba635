"""Asks an OpenAI-compatible server for one chat completion after the other. Standard library only.

No redirect is followed and no proxy is used, so that the key goes to the named server and nowhere else.
"""

import http.client
import json
import time
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass

MAX_REPLY_BYTES = 1 << 20
TIMEOUT_S = 180.0  # a small model on a busy CPU
TRIES = 4
PAUSE_S = 0.5  # doubled after each try


class ServerAway(Exception):
    """The server does not answer, or not this user: no fault of the prompt."""


class ServerRefuses(Exception):
    """It refuses this request."""


@dataclass(frozen=True)
class Settings:
    temperature: float
    reply_tokens: int
    seed: int


@dataclass(frozen=True)
class Reply:
    """`tokens`: in and out as the server counts them; None where it does not."""

    text: str
    tokens: int | None


class Server:
    """One connection. `url` is the base, such as http://localhost:8000/v1. For one thread."""

    def __init__(self, url: str, model: str, key: str | None) -> None:
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ServerAway("SWARM_PROMPTS_URL is no address such as http://localhost:8000/v1")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname, parts.port, timeout=TIMEOUT_S)
        self._path = f"{parts.path.rstrip('/')}/chat/completions"
        self._model = model
        self._headers = {"content-type": "application/json", **({"authorization": f"Bearer {key}"} if key else {})}
        self._limit = "max_tokens"

    def close(self) -> None:
        self._connection.close()

    def ask(self, messages: Sequence[dict[str, str]], settings: Settings) -> Reply:
        """Raises ServerAway and ServerRefuses."""
        why = ""
        for turn in range(TRIES):
            if turn:
                time.sleep(PAUSE_S * 2 ** (turn - 1))
            body = {
                "model": self._model,
                "messages": list(messages),
                "temperature": settings.temperature,
                self._limit: settings.reply_tokens,
                "seed": settings.seed,
            }
            try:
                self._connection.request("POST", self._path, json.dumps(body), self._headers)
                answer = self._connection.getresponse()
                content, status = answer.read(MAX_REPLY_BYTES + 1), answer.status
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                why = f"the model server gave no answer: {type(error).__name__}"
                continue
            if status == 200:
                return _reply(content)
            self._connection.close()
            if status == 400 and b"max_completion_tokens" in content and self._limit == "max_tokens":
                self._limit = "max_completion_tokens"  # what newer models call it
                continue
            if status in (400, 413, 422):
                raise ServerRefuses(f"the model server refuses the request with status {status}")
            why = f"the model server answered with status {status}"
            if status not in (408, 409, 429) and status < 500:
                break
        raise ServerAway(why)


def _reply(content: bytes) -> Reply:
    try:
        fields = json.loads(content)
        text = fields["choices"][0]["message"]["content"]
        usage = fields.get("usage") or {}
        tokens = usage.get("total_tokens")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ServerAway("what the model server sent is no chat completion") from error
    counts = isinstance(tokens, int) and not isinstance(tokens, bool) and 0 <= tokens < 10**9
    return Reply(text if isinstance(text, str) else "", tokens if counts else None)
