"""The body of a response, cut off by its unpacked size: ten kilobytes may hold ten megabytes of zeros."""

import zlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx2

MAX_BODY_BYTES = 4 * 1024 * 1024
_PACKED = ("gzip", "x-gzip", "deflate")


def limit_body(response: "httpx2.Response") -> None:
    """A hook of the HTTP client: unpacks the body itself, and raises ReadError where it grows too large.

    No packing is asked for; some servers pack all the same. Of their ways those are read that can be unpacked piece by
    piece.
    """
    import httpx2

    packing = response.headers.get("content-encoding", "").strip().lower()
    if packing in _PACKED:
        del response.headers["content-encoding"]
    elif packing not in ("", "identity"):
        raise httpx2.ReadError(f"the body is packed with {packing[:40]!r}, and no packing was asked for")

    class Limited(httpx2.SyncByteStream):
        def __init__(self, stream: httpx2.SyncByteStream) -> None:
            self._stream = stream

        def __iter__(self) -> Iterator[bytes]:
            seen = 0
            for piece in _unpacked(self._stream) if packing in _PACKED else self._stream:
                seen += len(piece)
                if seen > MAX_BODY_BYTES:
                    raise httpx2.ReadError(f"the body is larger than {MAX_BODY_BYTES} bytes")
                yield piece

        def close(self) -> None:
            self._stream.close()

    assert isinstance(response.stream, httpx2.SyncByteStream)
    response.stream = Limited(response.stream)


def _unpacked(stream: Iterable[bytes]) -> Iterator[bytes]:
    """In pieces of at most MAX_BODY_BYTES and one byte. Raises zlib.error."""
    unpack: zlib._Decompress | None = None
    for chunk in stream:
        if unpack is None:  # gzip and zlib have a head of their own; some servers send a deflate without one
            unpack = zlib.decompressobj(47 if chunk[:1] in (b"\x1f", b"\x78") else -15)
        left = chunk
        while left:
            yield unpack.decompress(left, MAX_BODY_BYTES + 1)
            left = unpack.unconsumed_tail
    if unpack is not None:
        yield unpack.flush()
