"""Reasoning models: their thinking is set aside, and the answer is what follows it. Pure."""

import re
from typing import NamedTuple

_TAGS = "think|thinking|thought|thoughts|reasoning|reflection|seed:think|analysis"
_OPEN = re.compile(rf"(?i)\A\s*(?:<({_TAGS})>|\[(THINK)\]|◁(think)▷|<\|(?:begin_of_thought|START_THINKING)\|>)")
_CLOSE = re.compile(rf"(?i)</({_TAGS})>|\[/THINK\]|◁/think▷|<\|(?:end_of_thought|END_THINKING)\|>")
# gpt-oss in its own format, where a server passes it on as it is.
_FINAL = re.compile(r"<\|channel\|>\s*final\s*(?:<\|[a-z_]+\|>[^<]*)*<\|message\|>")
_CHANNEL = re.compile(r"\A\s*(?:<\|start\|>assistant)?<\|channel\|>")
_END = re.compile(r"(?i)<\|(?:return|end|call|im_end|eot_id|END_RESPONSE|START_RESPONSE)\|>|</?(?:answer|response)>")

_ANSWER = re.compile(r"(?m)^\s*<{5,9} ?SEARCH|^\s*`{3}|^\s*\{")


class Parted(NamedTuple):
    thinking: str
    answer: str


def parted(text: str) -> Parted:
    """The two parts of what a model wrote. Thinking that was begun and not ended leaves no answer; an end without a
    beginning is one whose beginning was part of the prompt."""
    if _CHANNEL.match(text):
        final = list(_FINAL.finditer(text))
        if not final:
            return Parted(text, "")
        return Parted(text[: final[-1].start()].strip(), _without_marks(text[final[-1].end() :]))
    ends = list(_CLOSE.finditer(text))
    opened = _OPEN.match(text)
    if not ends:
        return Parted(text[opened.end() :].strip(), "") if opened else Parted("", text)
    # A thought may speak of its own mark, and a program may have it in a string: an answer follows the real one.
    real = next((end for end in reversed(ends) if _ANSWER.search(text, end.end())), None)
    if real is None and opened is None and _ANSWER.search(text):
        return Parted("", text)
    last = real or ends[-1]
    return Parted(text[: last.start()].strip(), _without_marks(text[last.end() :]))


def _without_marks(text: str) -> str:
    """What stands around a final answer is no part of it; inside of a program such a mark stays."""
    text = text.strip("\n")
    while (mark := _END.match(text.lstrip())) is not None:
        text = text.lstrip()[mark.end() :]
    ends = list(_END.finditer(text))
    while ends and not text[ends[-1].end() :].strip():
        text = text[: ends.pop().start()]
    return text.strip("\n")
