"""Grades a prompt: fills it in for each hidden message, asks the model, and prints the share of right answers.

The model is the one behind SWARM_PROMPTS_URL; without it the scripted stand-in, which the answer then says in a flag.
No message and no reply is printed, and what a candidate wrote is nothing but text here.
"""

import json
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import fmean

from asking import Reply, Server, ServerAway, ServerRefuses, Settings
from drawing import Item, draw
from filling import Prompt, Refused, read, speaks_to_the_grader
from standin import serving

AWAY = 75  # the exit code of a grader that cannot work now
AT_ONCE = 4  # requests to a real server


def main() -> None:
    items = hidden(Path("private"))
    text = Path("outputs/prompt.toml").read_text(encoding="utf-8")
    try:
        print(json.dumps(graded(text, items, int(os.environ.get("SWARM_SEED", "0")))))
    except (Refused, ServerRefuses) as error:
        print(json.dumps({"metrics": {}, "valid": False, "why": str(error)}))
    except ServerAway as error:
        print(error, file=sys.stderr)
        sys.exit(AWAY)


def hidden(folder: Path) -> list[Item]:
    secret = (folder / "items.key").read_text(encoding="ascii").strip()
    return draw(secret, int(json.loads((folder / "items.json").read_text(encoding="utf-8"))["items"]))


def graded(text: str, items: list[Item], seed: int) -> dict[str, object]:
    """The answer of a grader. Raises Refused, ServerAway and ServerRefuses."""
    prompt = read(text, items)
    requests = [prompt.filled(item) for item in items]
    with _model() as (url, model, key, at_once):
        replies = _ask_all(requests, prompt, seed, (url, model, key), at_once)
    right = [float(prompt.answer_in(r.text) == item.answer) for r, item in zip(replies, items, strict=True)]
    told = [sum(len(message["content"]) for message in request) for request in requests]
    characters = [size + len(reply.text) for size, reply in zip(told, replies, strict=True)]
    tokens = [size / 4 if r.tokens is None else r.tokens for size, r in zip(characters, replies, strict=True)]
    Path("right.json").write_text(json.dumps(right), encoding="utf-8")
    odd = {"stand_in_model": at_once == 1, "speaks_to_the_grader": speaks_to_the_grader(prompt)}
    return {
        "metrics": {"accuracy": fmean(right), "characters": fmean(characters), "tokens": fmean(tokens)},
        "valid": True,
        "why": "",
        "per_item": "right.json",
        "flags": [name for name, is_so in odd.items() if is_so],
    }


def _ask_all(
    requests: list[list[dict[str, str]]], prompt: Prompt, seed: int, where: tuple[str, str, str | None], at_once: int
) -> list[Reply]:
    """In the order of the requests, each thread over a connection of its own."""
    settings = Settings(prompt.temperature, prompt.reply_tokens, seed % 2**31)

    def some(mine: list[list[dict[str, str]]]) -> list[Reply]:
        with closing(Server(*where)) as server:
            return [server.ask(messages, settings) for messages in mine]

    with ThreadPoolExecutor(at_once) as pool:
        shares = list(pool.map(some, (requests[turn::at_once] for turn in range(at_once))))
    return [shares[place % at_once][place // at_once] for place in range(len(requests))]


@contextmanager
def _model() -> Iterator[tuple[str, str, str | None, int]]:
    """Base URL, model, key, and how many requests at once. Raises ServerAway."""
    url, model = os.environ.get("SWARM_PROMPTS_URL"), os.environ.get("SWARM_PROMPTS_MODEL", "")
    if not url:
        with serving() as own:
            yield own, "stand-in", None, 1
        return
    if not model:
        raise ServerAway("SWARM_PROMPTS_URL is set and SWARM_PROMPTS_MODEL is not: name the model")
    yield url, model, os.environ.get("SWARM_PROMPTS_API_KEY") or None, AT_ONCE


if __name__ == "__main__":
    main()
