"""Every way in which a call fails, in a few kinds, and how long the server wants to be left alone. Pure."""

import json
import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Literal

from workers.proposers.openai_api.completion import Counts
from workers.proposers.openai_api.cures import is_too_long

Kind = Literal[
    "auth",  # 401, 403: the key is refused; no retry helps at once
    "config",  # 404, a redirect, a library that is not installed: address, model or set-up are wrong
    "rejected",  # 400, 413, 422: this request is wrong, another one may be right
    "too_long",  # the same, and it says that the model's context is too short for it
    "cut",  # the answer ended at a limit before its first word
    "quota",  # 402, or a refusal that speaks of money: none is left
    "busy",  # 408, 409, 429: come back later, `retry_after_s` if the server says when
    "down",  # no connection, deadline passed, 5xx, or an answer that is none
    "declined",  # the model refused
]


class CallFailed(Exception):
    """`words` are all that the server said, for `cures`; `sent` the names of the parameters that it was sent."""

    def __init__(
        self,
        kind: Kind,
        detail: str,
        *,
        retry_after_s: float | None = None,
        counts: Counts | None = None,
        status: int = 0,
        words: str = "",
        sent: frozenset[str] = frozenset(),
        timed_out: bool = False,
        elsewhere: bool = False,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.retry_after_s = retry_after_s
        self.counts = counts or Counts()
        self.status = status
        self.words = words
        self.sent = sent
        self.timed_out = timed_out  # it, or something before it, waited for the whole answer in vain
        self.elsewhere = elsewhere  # the API may be at another path of the server


_NO_MONEY = re.compile(
    r"(?i)insufficient[_ ](quota|balance|credit|funds)|billing|credit balance|out of credits|payment required"
    r"|no credits|balance is (too )?(low|not enough|insufficient)|exceeded your current quota|spending limit"
    r"|arrear|top up"
)
_KEY = re.compile(
    r"(?i)api[ _-]?key.{0,30}(not valid|invalid|incorrect|missing|expired)|(invalid|incorrect) api[ _-]?key"
)
_MODEL = re.compile(
    r"(?i)model[_ ]not[_ ](found|exist)|no such model|unknown model|not a valid model|invalid model"
    r"|model\b.{0,80}(does ?n.t exist|does not exist|not found|not supported|no longer|deprecated|decommissioned)"
)
_FILTERED = re.compile(r"(?i)content[_ ](filter|policy|management)|safety system|responsible ?ai|flagged|moderation")


def kind_of(status: int, words: str, retry_after_s: float | None = None) -> Kind:
    """By the status, and by the words where servers of the field use one status for several things."""
    if status in (400, 413, 422, 500) and is_too_long(words):
        return "too_long"
    soon = status == 429 and retry_after_s is not None  # "check your plan", it says, and means this minute
    if status == 402 or (status in (400, 403, 429) and not soon and _NO_MONEY.search(words)):
        return "quota"
    if status in (401, 403, 407) or (status == 400 and _KEY.search(words)):
        return "auth"
    if status in (400, 413, 415, 422):
        return "declined" if _FILTERED.search(words) else "config" if _MODEL.search(words) else "rejected"
    return "busy" if status in (408, 409, 425, 429) else "down" if status >= 500 else "config"


def retry_after_s(headers: Mapping[str, str], body: object, now: float) -> float | None:
    """Seconds, from the headers (a number, a date, a time to a limit's reset), from Gemini's `retryDelay`, or from the
    words; None if none can be read."""
    said = headers.get("retry-after", "")
    if headers.get("retry-after-ms", "").isdecimal():
        return float(headers["retry-after-ms"]) / 1000
    try:
        if said:
            return max(0.0, float(said)) if re.fullmatch(r"\s*\d{1,9}(\.\d*)?\s*", said) else _until(said, now)
    except (ValueError, TypeError, OverflowError):
        pass
    text = json.dumps(body, default=str)
    if delay := re.search(r'\\?"retryDelay\\?":\s*\\?"(\d{1,6}(?:\.\d+)?)s', text):
        return float(delay[1])
    if words := re.search(rf"(?i)(?:try again|retry|wait|available)(?: again)? (?:in|after|for)?\s*({_SPAN})", text):
        return _seconds(words[1])
    return None


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_ONE_SPAN = r"\d{1,6}(?:\.\d{1,9})?\s?(?:ms|milliseconds?|seconds?|secs?|s|minutes?|mins?|m|hours?|h)"
_SPAN = rf"(?:{_ONE_SPAN}[\s,]*)+"


def _seconds(text: str) -> float:
    """7m12.5s, 20 seconds, 350ms."""
    pairs = re.findall(r"(\d+(?:\.\d+)?)\s?(ms|milli|[smh])", text.lower())
    return sum(float(number) * _UNITS["ms" if unit == "milli" else unit] for number, unit in pairs)


def _until(date: str, now: float) -> float:
    try:
        moment = parsedate_to_datetime(date)
    except ValueError:
        moment = datetime.fromisoformat(date.strip())
    return max(0.0, moment.timestamp() - now)
