"""More than two hundred hostile programs and their honest twins, each as a real trial: none gets through, and the table
says what the record says of each. `make redteam`."""

import pytest
from campaign import Campaign
from fakes.redteam_programs.catalogue import PROGRAMS, Kind, Program
from judge import line_of

pytestmark = [pytest.mark.redteam, pytest.mark.timeout(300)]


def _id(program: Program) -> str:
    return f"{program.kind}-{program.name}"


@pytest.mark.parametrize("program", PROGRAMS, ids=_id)
def test_it_does_not_get_through(campaign: Campaign, table, program: Program) -> None:
    honest = campaign.honest(program)
    ran = campaign.result(program)
    line = line_of(ran, honest)
    table.add(line)
    assert line.through == (), ran.log[-3000:]


def test_there_are_enough_of_each_kind() -> None:
    for kind in Kind:
        assert sum(program.kind is kind for program in PROGRAMS) >= 9, kind
    assert sum(not program.honest for program in PROGRAMS) >= 60
