"""A safeguard, the switch that takes it out of the program, and the tests that have to notice."""

from dataclasses import dataclass
from pathlib import Path


class StaleSwitch(Exception):
    """The text that a switch replaces is not in its file exactly once: the code has moved on, and the row has not."""


@dataclass(frozen=True)
class Edit:
    """`old` stands exactly once in `file`, and `new` takes its place."""

    file: str
    old: str
    new: str

    def applied_to(self, text: str) -> str:
        """Raises StaleSwitch."""
        if (found := text.count(self.old)) != 1:
            raise StaleSwitch(
                f"{self.file} has this text {found} times, and a switch replaces it exactly once: write the row anew\n"
                f"{self.old}"
            )
        return text.replace(self.old, self.new)


@dataclass(frozen=True)
class Safeguard:
    """One row. `tests` are pytest ids below tests/; at least one of them fails while the safeguard is off."""

    name: str
    what: str
    switch: Edit | tuple[Edit, ...]
    tests: tuple[str, ...]

    @property
    def edits(self) -> tuple[Edit, ...]:
        return (self.switch,) if isinstance(self.switch, Edit) else self.switch

    def switched_off(self, root: Path) -> dict[str, str]:
        """The texts of the files that the switch changes in the tree at `root`. Raises StaleSwitch."""
        texts: dict[str, str] = {}
        for edit in self.edits:
            text = texts[edit.file] if edit.file in texts else (root / edit.file).read_text(encoding="utf-8")
            texts[edit.file] = edit.applied_to(text)
        return texts
