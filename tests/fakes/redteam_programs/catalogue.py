"""Hostile candidates by kind, and their honest twins. `known` are those whose record is pinned word for word."""

from fakes.redteam_programs.ahead import AHEAD
from fakes.redteam_programs.build import Kind, Program
from fakes.redteam_programs.clocks import CLOCKS
from fakes.redteam_programs.company import COMPANY
from fakes.redteam_programs.crossing import CROSSING
from fakes.redteam_programs.measures import MEASURES
from fakes.redteam_programs.night import NIGHT
from fakes.redteam_programs.power import POWER
from fakes.redteam_programs.recipes import SECRETS
from fakes.redteam_programs.twins import TWINS

PROGRAMS: tuple[Program, ...] = (*TWINS, *SECRETS, *CLOCKS, *COMPANY, *AHEAD, *CROSSING, *POWER, *MEASURES, *NIGHT)

assert len({program.name for program in PROGRAMS}) == len(PROGRAMS), "one name, one program"

__all__ = ["PROGRAMS", "Kind", "Program"]
