"""A key that servers and models tell in every way they know: it is in nothing that a whole study leaves behind."""

import base64
import json
import re
import urllib.parse
from collections.abc import Mapping
from itertools import count
from pathlib import Path

import pytest
from fakes.fake_llm import Answer, FakeLLM, Raw, Request, completion, envelope
from fakes.reader_of_everything import can_be_read, places_of
from fakes.tiny_study import make_tiny_study

pytestmark = pytest.mark.timeout(400)

KEY = "canary-Q+w/e~rt-0123456789-abcdefghij"
UNUSED = "another-canary-that-nobody-asked-for-42"
HALF = len(KEY) // 2

SPELLINGS: Mapping[str, str] = {
    "plain": KEY,
    "within a word": f"x{KEY}y",
    "base64": base64.b64encode(KEY.encode()).decode(),
    "base64, shifted": base64.b64encode(f"k={KEY};".encode()).decode(),
    "base64 for URLs": base64.urlsafe_b64encode(KEY.encode()).decode(),
    "hex": KEY.encode().hex(),
    "HEX": KEY.encode().hex().upper(),
    "URL": urllib.parse.quote(KEY, safe=""),
    "URL, each byte": "".join(f"%{byte:02X}" for byte in KEY.encode()),
    "JSON": json.dumps(KEY)[1:-1],
    "JSON, each character": "".join(f"\\u{ord(letter):04x}" for letter in KEY),
    "JSON, the first character": f"\\u{ord(KEY[0]):04x}{KEY[1:]}",
    "Python": "".join(f"\\x{ord(letter):02x}" for letter in KEY),
    "HTML": "".join(f"&#{ord(letter)};" for letter in KEY),
    "two lines": f"{KEY[:HALF]}\n{KEY[HALF:]}",
    "two lines of a comment": f"{KEY[:HALF]}  \n    # {KEY[HALF:]}",
    "a continued line": f"{KEY[:HALF]}\\\n{KEY[HALF:]}",
    "two strings": f'{KEY[:HALF]}" "{KEY[HALF:]}',
}
ANCHOR = "    train = data.train()"


def test_the_reader_finds_each_spelling() -> None:
    """Or the study below would show nothing."""
    missed = [name for name, text in SPELLINGS.items() if not can_be_read(KEY, f"before {text} after".encode())]
    assert missed == []
    written = json.dumps({"text": " ".join(SPELLINGS.values())}).encode()
    assert can_be_read(KEY, written) and not can_be_read(UNUSED, written)


class Tells:
    """Answers with an edit that holds the key, then fails in each way with the key in its words, then edits again."""

    def __init__(self) -> None:
        self._requests = count()

    def __call__(self, request: Request) -> Answer:
        assert request.headers["authorization"].endswith(KEY)
        assert not can_be_read(KEY, request.prompt.encode())
        number = next(self._requests)
        told = " ".join(SPELLINGS.values())
        failures = (
            Raw(json.dumps({"error": {"message": f"the key {told} is unknown"}}), 500),
            Raw(told, 503, headers={"retry-after": "0"}),
            completion("", refusal=told),
            Raw(json.dumps({"error": told, "choices": []})),
        )
        return failures[number - 1] if 0 < number <= len(failures) else self._edit(request, number, told)

    def _edit(self, request: Request, number: int, told: str) -> str:
        """A program that runs, with the key in its strings and comments, and a hypothesis that tells it too."""
        names = list(SPELLINGS)
        spelt = SPELLINGS[names[number % len(names)]]
        rate = re.search(r"(?m)^MAX_LR = .*$", request.prompt)
        assert rate is not None
        new = f"MAX_LR = {0.05 * 1.07**number:.4g}  # search: log(1e-3, 1.0)"
        cites = re.findall(r'"id": "(t\d+)"', request.prompt)[:1]
        changed = envelope(rate[0], new, cites=cites, hypothesis=f"{number}: {spelt} {told}", family="schedule")
        strings = "\n".join(f'    """{text}""",' for text in SPELLINGS.values())
        notes = f"    notes = (\n{strings}\n    )  # {KEY}\n    assert notes"
        return f"{changed}\n<<<<<<< SEARCH\n{ANCHOR}\n=======\n{notes}\n{ANCHOR}\n>>>>>>> REPLACE\n"


def test_the_key_is_in_nothing_that_a_study_leaves(tmp_path: Path) -> None:
    tiny = make_tiny_study(tmp_path, samples=500)
    for folder in ("home", "tmp"):
        (tmp_path / folder).mkdir()
    with FakeLLM([Tells()]) as server:
        done = tiny.up(
            *("--trials", "7", "--workers", "1", "--proposer", f"openai:fake-1@{server.url}"),
            OPENAI_API_KEY=KEY,
            HF_TOKEN=UNUSED,
            TMPDIR=str(tmp_path / "tmp"),
            HOME=str(tmp_path / "home"),
        )
    assert done.returncode == 0, done.stdout + done.stderr
    edits = [trial for trial in tiny.study().trials.values() if trial.claim.proposer == "openai:fake-1"]
    assert edits, [refused.detail for refused in tiny.study().rejections]
    stored = tiny.repo.git("show", f"refs/swarm/{tiny.study().study_id}/{edits[0].trial_id}:models/tiny/train.py")
    assert "assert notes" in stored and "[redacted]" in stored
    for secret in (KEY, UNUSED):
        assert places_of(secret, tmp_path) == []
        assert not can_be_read(secret, (done.stdout + done.stderr).encode())
