"""Leaves each edit of a program out in turn, on fresh seeds, and says what it gains. By command, one trial at a time.

The runs are experiments of the study like any other, claimed, judged and recorded; what is new is that they are made
side by side for one question. A command that was ended goes on where it stopped.
"""

import hashlib
from collections.abc import Callable, Sequence

from swarm import gate
from swarm.errors import MergeConflict, SwarmError, UsageError
from swarm.execution.runner import Interruption, TrialRunner
from swarm.orchestrator.aside import Aside
from swarm.orchestrator.interrupts import Interrupts
from swarm.records import MAX_DESCRIPTION, Note, Operator, ProposalClaimed, Record
from swarm.repo import trial_ref
from swarm.repo.programs import Programs
from swarm.repo.secret import trial_files
from swarm.study.lineage import commit_of
from swarm.study.state import BrainState, Program, StudyState, Trial
from swarm.verdict.attribution import ARM, costs_of, smallest, steps, without, worthless
from swarm.verdict.standing import kept

AGENT = "attribution"
RUNS = 3
TOPIC = "attribution"


class Attributing:
    """One attribution. `say` tells a person what is done."""

    def __init__(self, aside: Aside, runs: int, say: Callable[[str], None], interrupts: Interrupts) -> None:
        self._aside = aside
        self._runs = runs
        self._say = say
        self._interrupts = interrupts
        self._programs = Programs.of(aside.repo, aside.settings)
        self._runner = TrialRunner(
            aside.settings,
            AGENT,
            aside.brain,
            lambda commit: trial_files(aside.repo, aside.settings, commit),
            aside.executor,
            Interruption(stop_reason=self._stop_reason, leave=lambda: False),
            aside.clock,
        )

    def run(self, name: str | None) -> Program:
        """The program that was attributed. Raises UsageError for one that has no edits."""
        subject = subject_of(self._aside.study, name)
        self._settle()
        line = steps(self._aside.study, subject)
        most = (len(line) + 2) * self._runs
        self._say(f"{subject.name} has {len(line)} edits: at most {most} runs, fewer where some are done")
        variants = [left_out for step in line if self._make(subject, left_out := (step.name,))]
        self._rounds(subject, variants)
        together = tuple(worthless(self._aside.study, self._again(subject)))
        if len(together) > 1 and not self._ended and self._make(subject, together):
            self._rounds(subject, [together])
        study, subject = self._aside.study, self._again(subject)
        least = smallest(study, subject)
        if least is not subject and not self._ended:
            self._note(f"{least.name} is as good as {subject.name} and shorter: {least.first.claim.description}")
        return subject

    @property
    def _ended(self) -> bool:
        return self._interrupts.count > 0

    def _stop_reason(self) -> str | None:
        return "stopped by the user" if self._interrupts.at_once else None

    def _again(self, program: Program) -> Program:
        return self._aside.study.programs[program.name]

    def _settle(self) -> None:
        """Trials of an attribution that was ended in the middle."""
        for trial in self._aside.study.open_trials(AGENT):
            study = self._aside.study
            refs = self._aside.repo.refs(study.study_id)
            self._runner.settle(trial, commit_of(study, study.programs[trial.claim.program], refs))

    def _rounds(self, subject: Program, variants: Sequence[tuple[str, ...]]) -> None:
        """Run by run, the subject first in each round, so that all of them see the same machine."""
        for number in range(1, self._runs + 1):
            study = self._aside.study
            programs = [self._again(subject), *(without(study, self._again(subject), one) for one in variants)]
            for program in programs:
                if self._ended:
                    return
                if program is not None and len(costs_of(program)) < number:
                    self._run(self._claim_again(program))

    def _make(self, subject: Program, left_out: tuple[str, ...]) -> bool:
        """Whether there is a program without these edits now; if not, why is said in the brain."""
        study = self._aside.study
        if without(study, study.programs[subject.name], left_out) is not None:
            return True
        names = ", ".join(left_out)
        try:
            source = self._text_without(study, subject, left_out)
        except MergeConflict as conflict:
            self._note(f"{names} cannot be left out of {subject.name}: later edits build on it", str(conflict))
            return False
        own = self._source(study, subject)
        answer = gate.check(source, own, [], study.opened.terms)
        if isinstance(answer, gate.Refusal):
            self._note(f"{names} cannot be left out of {subject.name}: {answer.code}", answer.detail)
            return False
        self._run(self._claim_new(subject, left_out, source, answer))
        return True

    def _text_without(self, study: StudyState, subject: Program, left_out: Sequence[str]) -> str:
        """Each edit applied backwards, the youngest first. Raises MergeConflict."""
        text = self._source(study, subject)
        for step in reversed(steps(study, subject)):
            if step.name in left_out:
                after, before = (self._source(study, study.programs[name]) for name in (step.name, step.before))
                text = self._aside.repo.merge(after, text, before)
        return text

    def _source(self, study: StudyState, program: Program) -> str:
        return self._programs.read(self._commit(study.programs[program.name]))

    def _commit(self, program: Program) -> str:
        study = self._aside.study
        commit = commit_of(study, program, self._aside.repo.refs(study.study_id))
        if commit is None:
            raise SwarmError(f"{program.name} was claimed and never committed, so there is no program of it")
        return commit

    def _run(self, trial: Trial) -> None:
        self._say(f"{trial.trial_id}: {trial.claim.description}")
        self._runner.run(trial, self._commit(self._aside.study.programs[trial.claim.program]))

    def _claim_new(self, subject: Program, left_out: tuple[str, ...], source: str, passed: gate.Passed) -> Trial:
        said = ", ".join(left_out)

        def build(study: StudyState, seq: int) -> ProposalClaimed:
            trial_id = study.next_trial_id
            return ProposalClaimed(
                agent_id=AGENT,
                study_id=study.study_id,
                description=f"{subject.name} without {said}"[:MAX_DESCRIPTION],
                trial_id=trial_id,
                operator=Operator.ABLATE,
                family=study.programs[left_out[-1]].first.claim.family,
                parent=subject.name,
                program=trial_id,
                parent_tree_sha256=subject.first.claim.tree_sha256,
                tree_sha256=passed.tree_sha256,
                constants_changed=passed.constants_changed,
                lines_added=passed.lines_added,
                lines_removed=passed.lines_removed,
                source_lines=len(source.splitlines()),
                seed=_seed(study.opened.seed, trial_id),
                read_seq=seq,
                cites=left_out,
                proposer=AGENT,
                arm=ARM,
                left_out=left_out,
            )

        trial = self._claimed(build)
        message = f"{trial.trial_id}: {trial.claim.description}"
        ref = trial_ref(self._aside.settings.study_id, trial.trial_id)
        self._programs.commit(self._commit(subject), source, message, ref)
        return trial

    def _claim_again(self, program: Program) -> Trial:
        def build(study: StudyState, seq: int) -> ProposalClaimed:
            first, trial_id = program.first.claim, study.next_trial_id
            operator = Operator.BASELINE if program is study.baseline else Operator.REPLICATE
            changed = {
                "agent_id": AGENT,
                "description": f"attribution: {program.name} again: {first.description}"[:MAX_DESCRIPTION],
                "trial_id": trial_id,
                "operator": operator,
                "seed": _seed(study.opened.seed, trial_id),
                "read_seq": seq,
                "proposer": AGENT,
                "arm": ARM,
            }
            nothing = {"briefing_sha256": None, "briefing_tokens": None, "cites": (), "nearest": (), "expects": None}
            return first.model_copy(update={**changed, **nothing, "usage": None, "warnings": (), "seq": 0, "id": ""})

        return self._claimed(build)

    def _claimed(self, build: Callable[[StudyState, int], ProposalClaimed]) -> Trial:
        study_id = self._aside.settings.study_id

        def claim(state: BrainState) -> list[Record]:
            return [build(state.studies[study_id], state.seq)]

        (record,) = self._aside.brain.transact(claim)
        assert isinstance(record, ProposalClaimed)
        return self._aside.study.trials[record.trial_id]

    def _note(self, text: str, detail: str = "") -> None:
        self._say(text)
        note = Note(
            agent_id=AGENT,
            study_id=self._aside.settings.study_id,
            topic=TOPIC,
            description=text[:MAX_DESCRIPTION],
            detail=detail[:4000],
        )
        self._aside.brain.append(note)


def subject_of(study: StudyState, name: str | None) -> Program:
    """The named program; without a name the best of what is kept, else the incumbent. Raises UsageError."""
    if name is not None and name not in study.trials:
        raise UsageError(f"study {study.study_id} has no trial {name}")
    best = sorted(kept(study), key=lambda program: program.mean or 0.0)[:1]
    subject = study.program_of(name) if name is not None else next(iter(best), study.incumbent)
    if subject is None or subject.parent is None:
        raise UsageError(f"study {study.study_id} has nothing but its baseline to attribute: no edit leads or is kept")
    return subject


def _seed(study_seed: int, trial_id: str) -> int:
    """Fresh: no trial of the search has it."""
    return int.from_bytes(hashlib.sha256(f"{study_seed}/{ARM}/{trial_id}".encode()).digest()[:4], "big")
