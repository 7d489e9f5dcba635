"""One structural edit: what it is called, what it is about, how it changes a program, and what takes it back."""

from collections.abc import Callable
from dataclasses import dataclass

from workers.proposers.library.program import DoesNotApply, Program

Transform = Callable[[Program], None]


@dataclass(frozen=True, slots=True)
class Edit:
    """`transform` raises DoesNotApply as its precondition. `inverse` names the edit that takes it back; where there is
    none, `recombine` leaves it out of a line by merging it backwards, and a discarded edit never enters one."""

    name: str
    family: str
    description: str
    transform: Transform
    inverse: str | None = None

    def apply(self, source: str) -> str:
        """The edited program. Raises DoesNotApply."""
        program = Program(source)
        self.transform(program)
        return program.result()

    def applies(self, source: str) -> bool:
        try:
            self.apply(source)
        except DoesNotApply:
            return False
        return True


def edit(name: str, family: str, description: str, inverse: str | None = None) -> Callable[[Transform], Edit]:
    """Makes an Edit of its transform."""

    def made(transform: Transform) -> Edit:
        return Edit(name, family, description, transform, inverse)

    return made
