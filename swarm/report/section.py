"""One table of the report."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Section:
    """A titled table. `empty` is what to say when it has no rows."""

    title: str
    note: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    empty: str = "Nothing."
