"""What a server answers, read with limits: of its size, also of what a compressed body becomes, and of its time."""

import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import httpx2

MAX_BODY_BYTES = 8 * 2**20  # a whole account's pods or the catalogue have some hundred kB
LIMIT_S = 60.0  # of one body, however it drips
_PIECE_BYTES = 1 << 16
_GZIP_OR_ZLIB = 47  # `wbits` of zlib: either header, the largest window


class TooMuch(httpx2.HTTPError):
    """A body over MAX_BODY_BYTES or LIMIT_S, or in a coding that was not asked for: no answer, whatever it says."""


@dataclass(frozen=True)
class Reply:
    """An answer that has been read whole."""

    status: int
    content: bytes
    headers: Mapping[str, str]
    reason: str

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300


def whole(response: httpx2.Response, monotonic: Callable[[], float]) -> Reply:
    """Raises TooMuch, and what reading raises."""
    content = b"".join(pieces(response, monotonic() + LIMIT_S, monotonic))
    return Reply(response.status_code, content, response.headers, response.reason_phrase)


def pieces(response: httpx2.Response, ends_at: float, monotonic: Callable[[], float]) -> Iterator[bytes]:
    """The decoded body, at most MAX_BODY_BYTES of it, in pieces of at most 64 KiB. Raises TooMuch beyond, and after
    `ends_at`."""
    left = MAX_BODY_BYTES
    for raw in _decoded(response):
        left -= len(raw)
        if left < 0:
            raise TooMuch(f"a body of more than {MAX_BODY_BYTES} bytes")
        if monotonic() > ends_at:
            raise TooMuch(f"a body that is not whole after {LIMIT_S:g} s")
        yield raw


def lines(found: Iterator[bytes]) -> Iterator[bytes]:
    """Whole lines without their ends, as they come."""
    rest = b""
    for piece in found:
        *done, rest = (rest + piece).split(b"\n")
        yield from done


def _decoded(response: httpx2.Response) -> Iterator[bytes]:
    match response.headers.get("content-encoding", "identity").strip().lower():
        case "identity" | "":
            yield from response.iter_raw()
        case "gzip" | "x-gzip" | "deflate":
            yield from _inflated(response.iter_raw())
        case other:
            raise TooMuch(f"a body in the coding {other[:40]!r}, which was not asked for")


def _inflated(raws: Iterator[bytes]) -> Iterator[bytes]:
    """Never more than a piece at once: a few bytes can become a thousand times as many."""
    inflating = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        for raw in raws:
            rest = raw
            while rest and not inflating.eof:
                yield inflating.decompress(rest, _PIECE_BYTES)
                rest = inflating.unconsumed_tail
    except zlib.error as problem:
        raise TooMuch(f"a body that is not compressed as it says: {problem}") from problem
