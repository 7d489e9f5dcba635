"""Whether an edit means in another program what it meant where it was made."""

import pytest

from swarm.program.shift import changed_parts, changed_under, parts

BASE = '''"""A program."""

import torch

RATE = 0.1  # search: log(1e-3, 1)
DECAY = 1e-4


class Block:
    width = 8

    def __init__(self):
        self.gain = 1.0

    def forward(self, x):
        y = x + 1
        return y * self.gain


def schedule(progress):
    return RATE * (1 - progress)


def main():
    model = Block()
    step = schedule(0.5)
    return model, step
'''


def edited(*pairs: tuple[str, str]) -> str:
    text = BASE
    for old, new in pairs:
        assert text.count(old) == 1
        text = text.replace(old, new)
    return text


def test_the_parts_of_a_program_have_names() -> None:
    assert set(parts(BASE)) == {
        *("module", "imports", "RATE", "DECAY", "Block", "Block.__init__", "Block.forward", "schedule", "main")
    }
    assert "self.gain" not in parts(BASE)["Block"]


def test_layout_and_comments_change_nothing() -> None:
    assert changed_parts(BASE, BASE.replace("  # search: log(1e-3, 1)", "").replace("\n\n\n", "\n\n")) == frozenset()
    assert changed_parts(BASE, edited(("RATE = 0.1", "RATE = 0.2"))) == {"RATE"}
    assert changed_parts(BASE, BASE + "\n\nEXTRA = 1\n") == {"EXTRA"}


RATE_UP = ("RATE = 0.1", "RATE = 0.2")
DECAY_UP = ("DECAY = 1e-4", "DECAY = 1e-3")
GAIN = ("        return y * self.gain", "        return y * self.gain ** 2")
PLUS = ("y = x + 1", "y = x + 2")


@pytest.mark.parametrize(
    ("edit", "now", "under"),
    [
        ((RATE_UP,), (DECAY_UP,), ()),
        ((GAIN,), (RATE_UP,), ()),
        ((GAIN,), (PLUS,), ("Block.forward",)),  # the lines around it
        ((("step = schedule(0.5)", "step = schedule(0.25)"),), (RATE_UP,), ()),  # one step away
        ((("step = schedule(0.5)", "step = schedule(0.25)"),), (("(1 - progress)", "progress"),), ("schedule",)),
        ((("return RATE * (1", "return 2 * RATE * (1"),), (RATE_UP,), ("RATE",)),  # what its new line reads
        ((("step = schedule(0.5)", "step = model.forward(1)"),), (PLUS,), ("Block.forward",)),
        ((RATE_UP,), (RATE_UP,), ("RATE",)),  # nothing of it is left there
        ((("import torch", "import math\nimport torch"),), (("import torch", "import torch\nimport io"),), ()),
    ],
)
def test_what_changed_under_an_edit_is_named(
    edit: tuple[tuple[str, str], ...], now: tuple[tuple[str, str], ...], under: tuple[str, ...]
) -> None:
    assert changed_under(BASE, edited(*edit), edited(*now)) == under


def test_a_text_that_is_no_program_names_nothing() -> None:
    assert changed_under("def", BASE, BASE) == ()
