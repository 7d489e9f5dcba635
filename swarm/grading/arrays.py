"""The head of an npy file, read without numpy: what it holds, and that nothing in it is an object to be revived.

Format: numpy.lib.format, versions 1.0 to 3.0. What is read here is text; no pickle is ever opened.
"""

import array
import ast
import math
import re
import sys
from dataclasses import dataclass

_MAGIC = b"\x93NUMPY"
_DTYPE = re.compile(r"(?P<order>[<>|=])(?P<kind>[biufcSU])(?P<size>[0-9]{1,4})")
_KINDS = {"b": "bool", "i": "int", "u": "uint", "f": "float", "c": "complex", "S": "bytes", "U": "str"}
_MAX_HEAD = 10_000


class NotInert(ValueError):
    """An output that is not what was declared. The message says why."""


@dataclass(frozen=True)
class Head:
    """`dtype` as numpy spells it: float64. `start`: where the numbers begin."""

    dtype: str
    little: bool
    shape: tuple[int, ...]
    start: int


def read_head(content: bytes) -> Head:
    """Of a whole npy file, whose length must be that of its numbers. Raises NotInert."""
    if content[:6] != _MAGIC or len(content) < 12:
        raise NotInert("it is no npy file")
    wide = content[6] >= 2
    start = 12 if wide else 10
    length = int.from_bytes(content[8:start], "little")
    if length > _MAX_HEAD or content[6] not in (1, 2, 3):
        raise NotInert("its head is no head of an npy file")
    fields = _fields(content[start : start + length])
    descr, shape = fields.get("descr"), fields.get("shape")
    match = _DTYPE.fullmatch(descr) if isinstance(descr, str) else None
    if match is None:
        raise NotInert(f"its type is {str(descr)[:40]!r}: only plain numbers and texts are taken, and no objects")
    if not isinstance(shape, tuple) or not all(type(side) is int and side >= 0 for side in shape):
        raise NotInert(f"its shape is {str(shape)[:40]!r}")
    size = int(match["size"]) * (4 if match["kind"] == "U" else 1)
    expected = start + length + size * math.prod(shape)
    if expected != len(content):
        raise NotInert(f"it has {len(content)} bytes; an array of {descr} and shape {shape} has {expected}")
    name = _KINDS[match["kind"]]
    dtype = name if name in ("bool", "bytes", "str") else f"{name}{8 * size}"
    little = match["order"] != ">" and (match["order"] != "=" or sys.byteorder == "little")
    return Head(dtype, little, shape, start + length)


def floats(content: bytes) -> list[float]:
    """The numbers of a one-dimensional array of float32 or float64. Raises NotInert."""
    head = read_head(content)
    if head.dtype not in ("float32", "float64") or len(head.shape) != 1:
        raise NotInert(f"it is {head.dtype} of shape {head.shape}; one number an item is wanted, in float64")
    numbers = array.array("f" if head.dtype == "float32" else "d", content[head.start :])
    if head.little != (sys.byteorder == "little"):
        numbers.byteswap()
    return numbers.tolist()


def _fields(text: bytes) -> dict[str, object]:
    try:
        fields = ast.literal_eval(text.decode("utf-8").strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise NotInert("its head is no head of an npy file") from error
    if not isinstance(fields, dict):
        raise NotInert("its head is no head of an npy file")
    return fields
