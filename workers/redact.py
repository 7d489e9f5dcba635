"""Secrets: taken out of the environment once, and out of every text that is written.

`take_secrets` moves keys from the environment into the one process that needs them. `Redactor` is applied to whatever
leaves that process: transcripts, logs, prompts, error texts and the words of a model, which may have been told a key by
its server.

A secret is looked for as whoever reads the text in the end would read it: with the escapes of Python, JSON, URLs and
HTML undone, over the seams of a string that is written in pieces, and through characters that a record leaves out.

Not promised: that every transformation is known (a model may put a space between the letters), and nothing against root
or against code in the same process.
"""

import base64
import ctypes
import json
import os
import re
import resource
import sys
import urllib.parse
from collections.abc import Iterable, Iterator, Mapping, MutableMapping

from workers.escapes import layers, readings

MIN_SECRET = 6
"""Shorter values are no secrets: replacing "x" everywhere would destroy the text."""

MARK = "[redacted]"

_SECRET_NAMES = re.compile(
    r"(?i)(_|^)((api|admin|access|private)_?key|token|secret|password|passwd|credentials?)(_|$)|^OPENAI_CUSTOM_HEADERS$"
)
_PATTERNS = re.compile(
    r"\b(sk-[A-Za-z0-9_-]{16,}|sk_(live|test)_[A-Za-z0-9]{10,}|AIza[A-Za-z0-9_-]{20,}|hf_[A-Za-z0-9]{20,}"
    r"|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|xox[abprs]-[A-Za-z0-9-]{10,}|rpa_[A-Za-z0-9]{20,}"
    r"|AKIA[A-Z0-9]{16})"
)
_BEARER = re.compile(r"(?i)\b(bearer\s+)[A-Za-z0-9._~+/=-]{8,}")


class Redactor:
    """Replaces the known secrets in all their usual spellings, however escaped, and whatever looks like a key."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        long_enough = [secret for secret in secrets if len(secret) >= MIN_SECRET]
        spelled = {form for secret in long_enough for form in _spellings(secret)}
        # A secret that has something like an escape in it is found where escapes were undone, too.
        forms = {layer.text for form in spelled for layer in layers(form) if len(layer.text) >= MIN_SECRET}
        longest_first = sorted(forms, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE) if forms else None
        self._in_lower_case = {form.lower() for form in forms}

    def __call__(self, text: str) -> str:
        return _BEARER.sub(rf"\g<1>{MARK}", _PATTERNS.sub(MARK, self._without_known(text)))

    def _without_known(self, text: str) -> str:
        if self._known is None or not any(map(self._may_hold, readings(text))):
            return text
        found = sorted(
            (layer.starts[match.start()], layer.ends[match.end() - 1])
            for layer in layers(text)
            for match in self._known.finditer(layer.text)
        )
        parts: list[str] = []
        at = 0
        for start, end in found:
            if start >= at:
                parts += [text[at:start], MARK]
            at = max(at, end)
        return "".join([*parts, text[at:]])

    def _may_hold(self, text: str) -> bool:
        """Much faster than the pattern, and most texts hold no secret."""
        text = text.lower()
        return any(form in text for form in self._in_lower_case)


def take_secrets(environ: MutableMapping[str, str] | None = None) -> Mapping[str, str]:
    """Removes every variable that is named like a secret and returns them; the process becomes unreadable to others.

    Called once, before any other process is started: children inherit no key, and neither a core dump nor
    /proc/PID/environ, which still holds the first values, can be read by another process of the same user.
    """
    environ = os.environ if environ is None else environ
    names = [name for name in environ if _SECRET_NAMES.search(name)]
    taken = {name: environ.pop(name) for name in names}
    if taken:
        _close_process()
    return taken


def _close_process() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    if sys.platform == "linux":
        pr_set_dumpable = 4
        ctypes.CDLL(None).prctl(pr_set_dumpable, 0, 0, 0, 0)


def _spellings(secret: str) -> Iterator[str]:
    raw = secret.encode()
    yield secret
    yield secret[::-1]
    yield json.dumps(secret)[1:-1]
    yield urllib.parse.quote(secret, safe="")
    yield urllib.parse.quote_plus(secret)
    yield raw.hex()
    yield from _base64_cores(raw)


def _base64_cores(raw: bytes) -> Iterator[str]:
    """What base64 makes of it wherever it stands in a longer text: three alignments, without the mixed edges."""
    for before in range(3):
        for encode in (base64.standard_b64encode, base64.urlsafe_b64encode):
            text = encode(b"\0" * before + raw).decode().rstrip("=")
            start = (before * 8 + 5) // 6
            whole_bits = (before + len(raw)) * 8
            yield text[start : whole_bits // 6]
