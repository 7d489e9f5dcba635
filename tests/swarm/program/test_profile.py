"""A profile's constants stay out of what is taken over, and what a trial itself has set goes along."""

from swarm.program.constants import assign
from swarm.program.profile import without_profile

ORIGINAL = '''"""A program."""

WIDTH = 6_4  # search: int(8, 128)
DEPTH = 3
MAX_LR = 1e-2  # search: log(1e-4, 1e-1)


def main():
    return WIDTH * DEPTH
'''
BASE = assign(ORIGINAL, {"WIDTH": 16, "DEPTH": 2})


def test_the_unchanged_program_is_the_persons_byte_for_byte() -> None:
    assert without_profile(ORIGINAL, BASE, BASE) == (ORIGINAL, {})


def test_a_change_beside_the_profiles_constants_comes_alone() -> None:
    program = assign(BASE, {"MAX_LR": 0.5})
    assert without_profile(ORIGINAL, BASE, program) == (assign(ORIGINAL, {"MAX_LR": 0.5}), {})


def test_a_constant_of_the_profile_that_the_trial_has_set_comes_along_and_is_named() -> None:
    program = assign(BASE, {"WIDTH": 24, "MAX_LR": 0.5})
    text, resized = without_profile(ORIGINAL, BASE, program)
    assert resized == {"WIDTH": (64, 24)}
    assert "WIDTH = 24" in text and "DEPTH = 3" in text and "MAX_LR = 5e-1" in text


def test_one_that_the_trial_has_set_back_is_no_difference() -> None:
    program = assign(BASE, {"WIDTH": 64})
    text, resized = without_profile(ORIGINAL, BASE, program)
    assert resized == {} and assign(text, {"WIDTH": 64}) == text and "DEPTH = 3" in text


def test_a_line_that_was_moved_or_commented_keeps_the_persons_value() -> None:
    program = BASE.replace("DEPTH = 2", "DEPTH = 2  # shallow") + "\nEXTRA = 1\n"
    text, resized = without_profile(ORIGINAL, BASE, program)
    assert resized == {} and "DEPTH = 3  # shallow\n" in text and text.endswith("EXTRA = 1\n")


def test_a_program_without_the_constant_or_written_anew_is_left_as_it_is() -> None:
    program = "def main():\n    return 1\n"
    assert without_profile(ORIGINAL, BASE, program) == (program, {})
