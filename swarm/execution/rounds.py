"""Trials whose command is timed: its processes and those of a fixed program in turn, on one core, with new inputs.

make         trusted: the inputs of all rounds, from a secret
run.1        the command over the trial's program, sandboxed, in a folder of its own
reference.1  the same over the fixed program; in even rounds it comes first
...
grade        trusted: all outputs as inert data, and the CPU seconds of each process as the supervisor has them

A round shares nothing with the one before: another folder, another home, and no process lives on. Budget and
walltime limit of the trial are divided by the processes.
"""

from dataclasses import replace

from swarm.program.globs import may_change
from swarm.records import Rounds, TargetTerms
from swarm.supervisor import PhaseResult, PhaseSpec, TrialResult
from swarm.trial.contract import Phase
from swarm.trial.folder import TrialFolder

_REFERENCE = "reference"


def processes_of(rounds: Rounds | None) -> int:
    return 2 * rounds.count if rounds is not None else 1


def of_reference(files: dict[str, bytes], terms: TargetTerms, rounds: Rounds) -> dict[str, bytes]:
    """What the fixed program's command sees: its own files in the place of the editable ones."""
    fixed = f"{rounds.reference}/"
    kept = {path: content for path, content in files.items() if not may_change(path, terms)}
    own = {path.removeprefix(fixed): content for path, content in files.items() if path.startswith(fixed)}
    return {**without_reference(kept, rounds), **own}


def without_reference(files: dict[str, bytes], rounds: Rounds | None) -> dict[str, bytes]:
    if rounds is None:
        return files
    return {path: content for path, content in files.items() if not path.startswith(f"{rounds.reference}/")}


def round_phases(folder: TrialFolder, run: PhaseSpec, rounds: Rounds) -> tuple[PhaseSpec, ...]:
    """Of `run`, which is the phase of a command that runs once and has its share of the limits already."""
    phases: list[PhaseSpec] = []
    for number in range(1, rounds.count + 1):
        order = (Phase.RUN, _REFERENCE) if number % 2 else (_REFERENCE, Phase.RUN)
        phases += [_of_round(folder, run, f"{who}.{number}") for who in order]
    return tuple(phases)


def runs_of(result: TrialResult) -> list[PhaseResult]:
    """The processes of the trial's own program."""
    return [phase for phase in result.phases if phase.name == Phase.RUN or phase.name.startswith(f"{Phase.RUN}.")]


def _of_round(folder: TrialFolder, run: PhaseSpec, name: str) -> PhaseSpec:
    """A child whose CPU time nobody counts would be work for nothing: none is started where there is no counter."""
    read = (path for path in run.read if path != str(folder.program))
    return replace(
        run,
        name=name,
        read=(*read, str(folder.workplace(name))),
        write=(str(folder.scratch), str(folder.outputs_of(name))),
        processes=False,
    )
