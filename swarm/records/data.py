"""What the data of a study are called, and what its numbers may be said about."""

import re

_OWN = re.compile(r"text-[0-9a-f]{8}")
_NAMES = {
    "cifar100": "CIFAR-100",
    "standin": "procedural stand-in images, not CIFAR-100",
    "kjv": "the King James text",
    "standin-text": "a procedural stand-in for text, no language",
    "own": "data of its own",
}


def named(data: str) -> str:
    """In a sentence: "resnext on CIFAR-100"."""
    return "text of your own" if _OWN.fullmatch(data) else _NAMES.get(data, data)


def reservation(data: str) -> str | None:
    """What the numbers may not be said about; None where the data are what they are called."""
    if data in ("cifar100", "kjv", "own") or _OWN.fullmatch(data):
        return None
    if data == "standin-text":
        return "Stand-in text, no claim about a language"
    return f"{'Stand-in' if data == 'standin' else data} data, no claim about CIFAR-100"
