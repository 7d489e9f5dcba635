"""Certifies what is kept: fresh seeds on the validation split, then the test split, once. One trial at a time.

Everything is written into the audit and nothing into the brain, so no worker ever reads what the test split said. A
command that was ended goes on where it stopped; only whole runs are written down.
"""

from collections.abc import Callable
from dataclasses import dataclass

from swarm import verdict
from swarm.errors import SwarmError, UsageError
from swarm.orchestrator import audit
from swarm.orchestrator.aside import Aside
from swarm.orchestrator.unrecorded import Unrecorded, run_with_items
from swarm.records import FailReason
from swarm.study.lineage import commit_of
from swarm.study.state import Program, StudyState
from swarm.verdict.certificate import (
    MOST_SEEDS,
    Certificate,
    CertificateBegun,
    CertificateRun,
    Owed,
    conclude,
    fresh_seeds,
    owed,
)
from swarm.verdict.standing import kept


@dataclass(frozen=True)
class Asked:
    """What a person wants: the `top` best that are kept, None for all, on so many seeds. `again`: a second look."""

    seeds: int
    top: int | None = None
    again: bool = False


def certify(aside: Aside, asked: Asked, say: Callable[[str], None]) -> Certificate:
    """The whole certificate. Raises UsageError when nothing is kept, and for a second look that was not asked for."""
    begun = _unfinished(aside)
    if begun is None:
        begun = _begin(aside, asked)
    else:
        say(f"going on with certificate {begun.number} of {', '.join(begun.programs)}, {len(begun.seeds)} seeds")
    left = owed(begun, _runs(aside, begun))
    total = 2 * len(begun.seeds) * (1 + len(begun.programs))
    for done, one in enumerate(left, total - len(left) + 1):
        split = "validation" if one.split == "val" else "test"
        say(f"{done} of {total}: {one.program}, seed {one.seed}, {split} split")
        _write(aside, _run(aside, begun, one))
    study, runs = aside.study, _runs(aside, begun)
    result = conclude(begun, runs, verdict.study_noise(study), aside.clock.now(), maximized=study.objective.maximized)
    _write(aside, result)
    return result


def subjects(study: StudyState, top: int | None) -> list[Program]:
    """What is kept, by the gain that the finals have shown, the best first. Raises UsageError when nothing is."""
    best = sorted(kept(study), key=lambda program: program.verdict.delta if program.verdict is not None else 0.0)
    if not best:
        raise UsageError(
            f"nothing is kept in study {study.study_id}, so there is nothing to certify: `swarm finals` decides what "
            "is kept"
        )
    return best[:top]


def _begin(aside: Aside, asked: Asked) -> CertificateBegun:
    study = aside.study
    if not 1 <= asked.seeds <= MOST_SEEDS:
        raise UsageError(f"--seeds is {asked.seeds}; it is 1 to {MOST_SEEDS}")
    if not study.opened.terms.has_test:
        raise UsageError(
            f"{study.opened.target} has no test split: add [test] with inputs and private to target.toml, and begin a "
            "new study"
        )
    if asked.top is not None and asked.top < 1:
        raise UsageError(f"--top is {asked.top}; it is 1 or more")
    programs = subjects(study, asked.top)
    earlier = _begun(aside)
    if earlier and not asked.again:
        raise UsageError(
            f"study {study.study_id} has looked at its test split already, in certificate {earlier[-1].number} in "
            f"{audit.audit_of(aside.settings.brain).name}. Whoever looks again and chooses by it fits the test images "
            "too; --again looks all the same and is recorded as such"
        )
    baseline = study.baseline
    assert baseline is not None  # something is kept
    number = len(earlier) + 1
    used = {trial.claim.seed for trial in study.trials.values()} | {seed for one in earlier for seed in one.seeds}
    begun = CertificateBegun(
        at=aside.clock.now(),
        study_id=study.study_id,
        number=number,
        baseline=baseline.name,
        programs=tuple(program.name for program in programs),
        seeds=fresh_seeds(study.opened.seed, number, asked.seeds, used),
        again=bool(earlier),
    )
    _write(aside, begun)
    return begun


def _run(aside: Aside, begun: CertificateBegun, one: Owed) -> CertificateRun:
    study = aside.study
    program = study.programs[one.program]
    commit = commit_of(study, program, aside.repo.refs(study.study_id))
    if commit is None:
        raise SwarmError(f"{one.program} was claimed and never committed, so there is no program of it")
    name = f"{one.program}.certificate"
    work = Unrecorded(name, commit, program.first.claim, one.seed, aside.settings.budget, one.split)
    outcome, items = run_with_items(aside, work)
    if outcome.reason is FailReason.ABANDONED:
        raise SwarmError(f"{one.program} could not be run: {outcome.detail}. The same command goes on.")
    score = outcome.score
    return CertificateRun(
        at=aside.clock.now(),
        study_id=study.study_id,
        number=begun.number,
        program=one.program,
        split=one.split,
        seed=one.seed,
        value=score.validation_loss if score is not None else None,
        top1=score.top1 if score is not None else None,
        items=tuple(items) if score is not None and items is not None else (),
        reason=f"{outcome.reason}: {outcome.detail[:200]}" if score is None else "",
    )


def _begun(aside: Aside) -> list[CertificateBegun]:
    found = _read(aside, CertificateBegun, "certificate_begun")
    for begun in found:
        unknown = [name for name in (begun.baseline, *begun.programs) if name not in aside.study.programs]
        if unknown:
            raise SwarmError(
                f"certificate {begun.number} in {audit.audit_of(aside.settings.brain)} names {', '.join(unknown)}, "
                f"which study {begun.study_id} does not have: the line was changed by hand, or the brain was"
            )
    return found


def _unfinished(aside: Aside) -> CertificateBegun | None:
    begun, ended = _begun(aside), _read(aside, Certificate, "certificate")
    return begun[-1] if len(begun) > len(ended) else None


def _runs(aside: Aside, begun: CertificateBegun) -> list[CertificateRun]:
    runs = _read(aside, CertificateRun, "certificate_run")
    return [run for run in runs if run.number == begun.number]


def _read(aside: Aside, model: type[audit.Entry], kind: str) -> list[audit.Entry]:
    return audit.read(audit.audit_of(aside.settings.brain), model, kind, aside.settings.study_id)


def _write(aside: Aside, line: CertificateBegun | CertificateRun | Certificate) -> None:
    audit.append(audit.audit_of(aside.settings.brain), line.model_dump_json())
