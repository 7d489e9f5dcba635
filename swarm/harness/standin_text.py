"""A procedural stand-in for text: documents in a made-up language, in seconds, no download.

How a document comes about, all in integers drawn from the installation's key:

    a topic, which prefers some nouns, verbs and adjectives; a cast of two names, which return for as long as it lasts
    sentences of a few shapes: determiner, adjectives, noun, verb, preposition, clause; plurals agree with their verb
    words of syllables, frequent ones short; frequencies fall as in languages; commas, full stops, questions, paragraphs

So a model gains by what also helps on text: spelling first, then words, agreement and order, then what a document has
said before. Documents are made whole, part by part, and no document stands in two parts.

It is NOT a benchmark of anything: numbers on it compare only with numbers on the same installation.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from swarm.harness.corpus import NEEDED, Texts
from swarm.harness.draws import Draws
from swarm.harness.layout import Part

TRAIN_BYTES = 3_000_000
DOCUMENT_SENTENCES = (30, 90)
TOPICS, TOPIC_WORDS = 40, 30
NOUNS, VERBS, ADJECTIVES, NAMES, SMALL = 600, 300, 200, 120, 24
_ONSETS = (
    "b",
    "d",
    "f",
    "g",
    "h",
    "k",
    "l",
    "m",
    "n",
    "p",
    "r",
    "s",
    "t",
    "v",
    "w",
    "br",
    "dr",
    "kl",
    "st",
    "tr",
    "sh",
)
_VOWELS = ("a", "e", "i", "o", "u", "ai", "ou", "ea")
_CODAS = ("", "", "", "n", "r", "s", "l", "m", "t", "nd", "rk")
_STREAM_WORDS, _STREAM_TOPICS, _STREAM_PARTS = 40, 41, 50
_PARTS: tuple[Part, ...] = ("train", "val", "test", "rung")
_DRAWN_AT_ONCE = 1 << 14


def version(key: bytes) -> str:
    """Names the recipe and, without giving it away, the key."""
    return f"standin-text-1-{hashlib.sha256(b'text' + key).hexdigest()[:8]}"


def generate(key: bytes) -> Texts:
    """All parts, the same bytes on every machine with this key. A few seconds on one core."""
    language = _language(key)
    sizes = {**NEEDED, "train": TRAIN_BYTES}
    made = {part: _part(language, key, _STREAM_PARTS + at, sizes[part]) for at, part in enumerate(_PARTS)}
    return Texts(**{part: np.frombuffer(text, np.uint8) for part, text in made.items()})


@dataclass(frozen=True)
class _Language:
    nouns: tuple[str, ...]
    verbs: tuple[str, ...]
    adjectives: tuple[str, ...]
    names: tuple[str, ...]
    determiners: tuple[str, ...]
    prepositions: tuple[str, ...]
    conjunctions: tuple[str, ...]
    topics: tuple[tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]], ...]


class _Lot:
    """Numbers one at a time, drawn in blocks."""

    def __init__(self, key: bytes, stream: int) -> None:
        self._draws = Draws(key, stream)
        self._block = self._numbers()

    def _numbers(self) -> Iterator[int]:
        while True:
            yield from self._draws.integers(0, 1 << 40, _DRAWN_AT_ONCE).tolist()

    def below(self, limit: int) -> int:
        return next(self._block) % limit

    def often_first(self, limit: int) -> int:
        """Of 0..limit - 1, about as ranks in a language: the product of two uniform numbers."""
        return self.below(limit) * self.below(limit) // limit


def _language(key: bytes) -> _Language:
    lot, used = _Lot(key, _STREAM_WORDS), set[str]()

    def words(count: int) -> tuple[str, ...]:
        found: list[str] = []
        while len(found) < count:
            word = "".join(
                _ONSETS[lot.below(len(_ONSETS))] + _VOWELS[lot.below(len(_VOWELS))] + _CODAS[lot.below(len(_CODAS))]
                for _ in range(1 + min(2, lot.below(2) + 3 * len(found) // (2 * count)))
            )
            if word not in used:
                used.add(word)
                found.append(word)
        return tuple(found)

    small = words(SMALL)
    nouns, verbs, adjectives, names = (words(count) for count in (NOUNS, VERBS, ADJECTIVES, NAMES))
    lot = _Lot(key, _STREAM_TOPICS)
    topics = tuple(
        tuple(tuple(lot.below(count) for _ in range(TOPIC_WORDS)) for count in (NOUNS, VERBS, ADJECTIVES))
        for _ in range(TOPICS)
    )
    capitals = tuple(name.capitalize() for name in names)
    return _Language(nouns, verbs, adjectives, capitals, small[:6], small[6:16], small[16:], topics)  # type: ignore[arg-type]


def _part(language: _Language, key: bytes, stream: int, size: int) -> bytes:
    lot, pieces, length = _Lot(key, stream), [], 0
    while length < size:
        document = _Document(language, lot).text().encode()
        pieces.append(document)
        length += len(document)
    return b"".join(pieces)


class _Document:
    def __init__(self, language: _Language, lot: _Lot) -> None:
        self._language, self._lot = language, lot
        self._topic = language.topics[lot.below(TOPICS)]
        self._cast = [language.names[lot.often_first(NAMES)] for _ in range(2)]

    def text(self) -> str:
        low, high = DOCUMENT_SENTENCES
        sentences = [self._sentence() for _ in range(low + self._lot.below(high - low))]
        ends = ["\n" if self._lot.below(6) == 0 else " " for _ in sentences]
        return "".join(sentence + end for sentence, end in zip(sentences, ends, strict=True)) + "\n\n"

    def _sentence(self) -> str:
        words = self._clause()
        if self._lot.below(3) == 0:
            conjunctions = self._language.conjunctions
            words = f"{words}, {conjunctions[self._lot.often_first(len(conjunctions))]} {self._clause()}"
        return words[0].upper() + words[1:] + ("?" if self._lot.below(12) == 0 else ".")

    def _clause(self) -> str:
        plural = self._lot.below(3) == 0
        named = self._lot.below(3) == 0
        subject = self._cast[self._lot.often_first(2)] if named else self._thing(plural)
        verb = self._pick(self._language.verbs, 1) + ("en" if plural and not named else "eth")
        end = self._thing(self._lot.below(4) == 0) if self._lot.below(4) else self._cast[self._lot.below(2)]
        prepositions = self._language.prepositions
        if self._lot.below(2):
            end = f"{end} {prepositions[self._lot.often_first(len(prepositions))]} {self._thing(False)}"
        return f"{subject} {verb} {end}"

    def _thing(self, plural: bool) -> str:
        determiners = self._language.determiners
        words = [determiners[self._lot.often_first(len(determiners))]]
        if self._lot.below(3) == 0:
            words.append(self._pick(self._language.adjectives, 2))
        words.append(self._pick(self._language.nouns, 0) + ("ai" if plural else ""))
        return " ".join(words)

    def _pick(self, words: tuple[str, ...], kind: int) -> str:
        """Two of three times a word of the topic, and early ones of either list far more often than late ones."""
        if self._lot.below(3):
            return words[self._topic[kind][self._lot.often_first(TOPIC_WORDS)]]
        return words[self._lot.often_first(len(words))]
