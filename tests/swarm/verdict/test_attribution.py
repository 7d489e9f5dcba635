"""What each edit of a line is worth, on runs that were made for the question."""

from collections.abc import Sequence

import pytest
from factories.studies import SIGMA, FakeStudy

from swarm.records import Operator
from swarm.report.attribution import attribution
from swarm.study.state import Program
from swarm.verdict.attribution import ARM, contributions, quantile, smallest, steps, subjects, without, worthless


class Bench:
    """A line of three edits on the baseline: 0.3, nothing, 0.2."""

    def __init__(self) -> None:
        self.fake = FakeStudy(seed=2)
        self.fake.measure_noise()
        parent, self.line = "t0001", []
        for effect, loss, lines in ((-0.3, 1.9, 210), (0.0, 1.9, 230), (-0.2, 1.7, 240)):
            parent = self.fake.try_change(effect, loss, parent=parent, source_lines=lines)
            self.line.append(parent)

    @property
    def subject(self) -> Program:
        return self.fake.study.programs[self.line[-1]]

    def again(self, program: str, losses: Sequence[float]) -> None:
        for loss in losses:
            self.fake.finish(self.fake.claim(program=program, operator=Operator.REPLICATE, arm=ARM), loss)

    def leave_out(self, *names: str, losses: Sequence[float], lines: int) -> str:
        name = self.fake.claim(
            parent=self.subject.name, operator=Operator.ABLATE, left_out=names, arm=ARM, source_lines=lines
        )
        self.fake.finish(name, losses[0])
        self.again(name, losses[1:])
        return name

    def attribute(self) -> None:
        self.again(self.subject.name, (1.700, 1.702, 1.698))
        self.leave_out(self.line[0], losses=(2.0, 2.01, 1.99), lines=230)
        self.leave_out(self.line[1], losses=(1.699, 1.700, 1.701), lines=220)
        self.again(self.line[1], (1.9, 1.9, 1.9))


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_the_steps_of_a_line_are_its_edits(bench: Bench) -> None:
    first, second, third = bench.line
    found = [(step.before, step.name) for step in steps(bench.fake.study, bench.subject)]
    assert found == [("t0001", first), (first, second), (second, third)]


def test_each_edit_gains_what_is_lost_without_it(bench: Bench) -> None:
    bench.attribute()
    found = contributions(bench.fake.study, bench.subject)
    assert [one.left_out for one in found] == [(name,) for name in bench.line]
    assert [one.gain for one in found] == pytest.approx([0.3, 0.0, 0.2])
    first, nothing, last = found
    assert last.program == bench.line[1], "without its last edit a program is its parent"
    assert first.low > 0 and last.low > 0 and nothing.low < 0 < nothing.high
    assert first.high - first.gain == pytest.approx(first.gain - first.low) and first.high - first.gain < 4 * SIGMA
    assert [one.runs for one in found] == [3, 3, 3]


def test_runs_of_the_search_do_not_count(bench: Bench) -> None:
    """The leader's first run was lucky, or it would not lead."""
    assert contributions(bench.fake.study, bench.subject) == [] and subjects(bench.fake.study) == []
    bench.attribute()
    bench.fake.finish(bench.fake.claim(program=bench.subject.name, operator=Operator.REPLICATE), 1.0)
    assert contributions(bench.fake.study, bench.subject)[0].gain == pytest.approx(0.3)


def test_the_smallest_program_is_the_shortest_that_is_as_good(bench: Bench) -> None:
    bench.attribute()
    assert worthless(bench.fake.study, bench.subject) == [bench.line[1]]
    least = smallest(bench.fake.study, bench.subject)
    assert least is without(bench.fake.study, bench.subject, (bench.line[1],))
    assert least.first.claim.source_lines == 220


def test_a_program_that_is_a_little_worse_is_not_as_good(bench: Bench) -> None:
    bench.again(bench.subject.name, (1.7, 1.7, 1.7))
    bench.leave_out(bench.line[1], losses=(1.71, 1.71, 1.71), lines=220)
    assert smallest(bench.fake.study, bench.subject) is bench.subject


def test_several_left_out_together_are_a_program_of_their_own(bench: Bench) -> None:
    bench.attribute()
    both = (bench.line[0], bench.line[1])
    together = bench.leave_out(*both, losses=(1.7, 1.7, 1.7), lines=200)
    assert contributions(bench.fake.study, bench.subject)[-1].left_out == both
    assert smallest(bench.fake.study, bench.subject).name == together


def test_the_report_has_a_row_for_each(bench: Bench) -> None:
    assert attribution(bench.fake.study).rows == ()
    bench.attribute()
    section = attribution(bench.fake.study)
    assert len(section.rows) == 3 and section.rows[0][:3] == (bench.subject.name, bench.line[0], "+0.3000")
    assert f"The smallest program as good as {bench.subject.name} (240 lines) is" in section.note


@pytest.mark.parametrize(("degrees", "point"), [(4, 2.776), (10, 2.228), (30, 2.042)])
def test_the_quantile_is_students(degrees: int, point: float) -> None:
    assert quantile(degrees) == pytest.approx(point, abs=1e-3)
