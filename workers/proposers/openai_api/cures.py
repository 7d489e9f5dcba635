"""What a refusal says about how the server wants to be asked. Pure.

A cure is taken from the words of the refusal and changes the rules in one direction only, so that asking again comes to
an end: the same words a second time cure nothing.
"""

import re
from collections.abc import Callable, Iterator

from workers.proposers.openai_api.rules import Rules

CURABLE = (400, 404, 405, 413, 415, 422, 500, 501)  # llama-cpp-python answers 500 to a format that it does not know
FIRST_LIMIT = 8_192  # tokens of an answer, for a server that wants to be told some number
ROOM_FOR_ANSWER = 0.3  # of a context that prompt and answer share
SHORTER = 0.75  # of a prompt that was too long, where no number is named

_LIMITS = r"max_(?:completion_|output_|new_)?tokens"
_UNKNOWN = (
    r"unsupported|not support|unknown|unrecogni[sz]ed|unexpected|extra|not permitted|not allowed|invalid|deprecated"
)
_TOO_LONG = re.compile(
    r"(?i)context[ _-]?(length|window|size|limit)|(prompt|input|messages?|request)[^.]{0,40}\btoo (long|large)"
    r"|too many (input |prompt )?tokens|maximum (allowed )?(input|prompt|number of tokens)|reduce the length"
    r"|exceeds? the (model's )?(maximum|max|limit|available)[^.]{0,40}(token|context|length)|input[^.]{0,20}token count"
    r"|n_ctx|num_ctx|max_model_len|string_above_max_length"
)
_A_NUMBER = r"(\d{1,3}(?:[,_]\d{3})+|\d{2,8})"
_CONTEXT = tuple(
    re.compile(pattern)
    for pattern in (
        rf"(?i)>\s*{_A_NUMBER}(?: tokens)? maximum",
        rf"(?i)\"?n_ctx\"?\s*[:=]\s*{_A_NUMBER}",
        rf"(?i)(?:context (?:length|window|size|limit)|maximum|max_model_len|at most|limit|up to|less than|only)"
        rf"[^.\d]{{0,60}}{_A_NUMBER}",
    )
)
_ASKED = re.compile(
    rf"(?i)(?:requested|resulted in|contains?|has|your (?:prompt|request|input|messages?)[^.\d]{{0,40}})"
    rf"[^.\d]{{0,30}}{_A_NUMBER} (?:input )?tokens|prompt is too long: {_A_NUMBER}"
)


def is_too_long(words: str) -> bool:
    return _TOO_LONG.search(words) is not None and not _limit_alone(words)


def cures(rules: Rules, status: int, words: str, sent: frozenset[str]) -> dict[str, object]:
    """New values of fields of the rules; none when the refusal names no cure, or one that is taken already.

    `sent` are the names of the parameters of the request.
    """
    found: dict[str, object] = {}
    if status not in CURABLE:
        return found
    for look in _LOOKS:
        found |= dict(look(rules, words, sent))
    return {name: value for name, value in found.items() if getattr(rules, name) != value}


def shorter_prompt(words: str, estimated: int) -> int:
    """Tokens by our estimate that the next prompt may have, after one of `estimated` tokens that was too long. The
    server counts otherwise than we do: what it says that it was asked for sets the scale."""
    limit = next((_number(found[1]) for pattern in _CONTEXT if (found := pattern.search(words))), None)
    asked = _ASKED.search(words)
    counted = _number(next(filter(None, asked.groups()))) if asked else estimated
    guess = int(SHORTER * estimated)
    if limit is None or limit < 64 or counted < 1:
        return guess
    return max(1, min(guess, int((1 - ROOM_FOR_ANSWER) * limit * estimated / counted)))


_Found = Iterator[tuple[str, object]]
_NOT_THAT_NAME = {
    "max_tokens": rf"(?is)max_completion_tokens|({_UNKNOWN}).*\bmax_tokens",
    "max_completion_tokens": rf"(?is)({_UNKNOWN}).*max_completion_tokens|max_completion_tokens.*({_UNKNOWN})"
    r"|(use|instead).*\bmax_tokens",
}


def _limit_name(rules: Rules, words: str, sent: frozenset[str]) -> _Found:
    name = rules.limit_name
    if name in sent and _limit_alone(words) is None and re.search(_NOT_THAT_NAME[name], words):
        yield "limit_name", "max_tokens" if name == "max_completion_tokens" else "max_completion_tokens"


def _limit(rules: Rules, words: str, sent: frozenset[str]) -> _Found:
    required = rf"(?is){_LIMITS}\W.{{0,60}}(required|missing)|(required|missing).{{0,60}}{_LIMITS}"
    if not sent & {"max_tokens", "max_completion_tokens"}:
        if re.search(required, words):
            yield "output_tokens", min(FIRST_LIMIT, rules.most_output_tokens)
            yield "limit_name", "max_completion_tokens" if "max_completion_tokens" in words else "max_tokens"
    elif (most := _limit_alone(words)) is not None and most < (rules.output_tokens or most + 1):
        yield "most_output_tokens", most
        yield "output_tokens", most


def _limit_alone(words: str) -> int | None:
    """The most tokens of an answer, where a refusal is about their number and not about the prompt."""
    if not re.search(rf"(?i){_LIMITS}|completion tokens|output tokens", words):
        return None
    if re.search(r"(?i)context|in the (messages|prompt)|your prompt|input", words):
        return None
    found = re.search(rf"\[\s*\d+\s*,\s*{_A_NUMBER}\s*\]", words) or re.search(
        rf"(?i)(?:at most|maximum|less than|up to|<=?|limit|range|between)[^\d]{{0,60}}{_A_NUMBER}", words
    )
    return _number(found[1]) if found else None


def _role(rules: Rules, words: str, sent: frozenset[str]) -> _Found:
    about_roles = r"(?i)\brole|(system|developer) (message|prompt|instruction)"
    if rules.instructions == "user" or not re.search(about_roles, words):
        return
    if re.search(r"(?i)system|developer|alternate|first message", words):
        wanted = rules.instructions == "system" and re.search(r"(?i)developer'? (role|message)|use .?developer", words)
        refused = re.search(r"(?i)developer instruction is not enabled", words)
        yield "instructions", "developer" if wanted and not refused else "user"


def _format(rules: Rules, words: str, sent: frozenset[str]) -> _Found:
    if "response_format" in sent and re.search(
        r"(?i)response_format|json_?schema|json_object|grammar|structured.?output|guided_|json mode", words
    ):
        yield "takes_schema", False


def _stream(rules: Rules, words: str, sent: frozenset[str]) -> _Found:
    if "stream" not in sent:
        wanted = (
            r"(?i)only supports? .{0,12}stream|stream\w* (is|mode is) required|enable.{0,20}stream"
            r"|stream\W{0,4}(must|has to|needs to|should) be"
        )
        if re.search(wanted, words) and rules.stream != "never":
            yield "stream", "yes"
    elif "stream_options" in sent and re.search(r"(?i)stream_options|include_usage", words):
        yield "counts_in_stream", False
    elif re.search(r"(?i)stream", words):
        yield "stream", "never"


_LOOKS: tuple[Callable[[Rules, str, frozenset[str]], _Found], ...] = (_limit_name, _limit, _role, _format, _stream)


def _number(text: str) -> int:
    return int(re.sub(r"\D", "", text))
