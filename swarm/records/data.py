"""What the data of a study are called, and what its numbers may be said about."""

import re

_OWN = re.compile(r"text-[0-9a-f]{8}")
_TOLD = re.compile(r"own(-[0-9a-f]{8})?")  # the hash is of what a grader was told, such as a server and a model
_NAMES = {
    "cifar100": "CIFAR-100",
    "standin": "procedural stand-in images, not CIFAR-100",
    "kjv": "the King James text",
    "standin-text": "a procedural stand-in for text, no language",
    "standin-model": "a scripted stand-in for a language model",
}


def named(data: str) -> str:
    """In a sentence: "resnext on CIFAR-100"."""
    if _TOLD.fullmatch(data):
        return "data of its own"
    return "text of your own" if _OWN.fullmatch(data) else _NAMES.get(data, data)


def reservation(data: str) -> str | None:
    """What the numbers may not be said about; None where the data are what they are called."""
    if data in ("cifar100", "kjv") or _OWN.fullmatch(data) or _TOLD.fullmatch(data):
        return None
    if data == "standin-model":
        return "Answers of a scripted stand-in, no claim about a language model"
    if data == "standin-text":
        return "Stand-in text, no claim about a language"
    return f"{'Stand-in' if data == 'standin' else data} data, no claim about CIFAR-100"
