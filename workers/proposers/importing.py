"""Findings of other swarms, as proposals: one arm for each remote, and each finding once a study.

A finding is a change of the unchanged program. It is tried on the incumbent where its places are there, else on the
unchanged program. Nothing of what its author says of it comes along: no number, no note, no comment.
"""

from collections.abc import Callable, Iterator

from swarm.errors import SwarmError
from swarm.orchestrator.data import data_sha256
from swarm.records import Operator, Proposal
from swarm.sharing.change import Unfit, applied
from swarm.sharing.finding import Finding
from swarm.sharing.publishing import ARM, SHARE_CODE, trust
from swarm.sharing.receiving import Here
from swarm.sharing.shelf import OnShelf, Shelf
from swarm.study.settings import RunSettings
from swarm.study.state import StudyState
from workers.briefing import Briefing
from workers.proposers import ProposalFailed, Proposer
from workers.proposers.evidence import cites_without_kin

REST_S = 60.0  # with an empty shelf
FAMILY = "imported"


class ImportProposer:
    def __init__(
        self,
        remote: str,
        shelf: Shelf,
        here: Here,
        study: Callable[[], StudyState],
        source_of: Callable[[str], str],
    ) -> None:
        """`source_of(trial_id)` gives the text of a program of the study."""
        self._remote = remote
        self._shelf = shelf
        self._here = here
        self._study = study
        self._source_of = source_of
        self._unfit: set[str] = set()  # ids whose places are nowhere, as far as this process knows

    @property
    def name(self) -> str:
        return f"{ARM}{self._remote}"

    def propose(self, briefing: Briefing) -> Proposal:
        """Raises ProposalFailed when the shelf has nothing that was not tried."""
        study = self._study()
        for item, finding in self._untried(study):
            for parent in (briefing.incumbent.trial_id, study.baseline.name if study.baseline is not None else None):
                if parent is None:
                    continue
                try:
                    source = applied(finding.edits, self._source_of(parent), study.opened.editable)
                except Unfit:
                    continue
                return Proposal(
                    operator=Operator.STRUCTURAL,
                    family=FAMILY,
                    description=f"finding {item.id[:12]} of the remote {self._remote}",
                    parent=parent,
                    source=source,
                    cites=cites_without_kin(briefing),
                    proposer=f"{self.name}/{item.id}",
                )
            self._unfit.add(item.id)
        raise ProposalFailed("nothing_to_import", f"nothing untried of {self._remote} fits", cooldown_s=REST_S)

    def _untried(self, study: StudyState) -> Iterator[tuple[OnShelf, Finding]]:
        """The oldest first."""
        tried = {trial.claim.proposer for trial in study.trials.values()}
        tried |= {refusal.proposer for refusal in study.rejections if refusal.code != SHARE_CODE}
        found = [
            (item, item.what)
            for item in self._shelf.read(self._remote)
            if isinstance(item.what, Finding)
            and f"{self.name}/{item.id}" not in tried
            and item.id not in self._unfit
            and self._here.unlike(item.what) is None
        ]
        yield from sorted(found, key=lambda pair: (pair[1].at, pair[0].id))


def importers(
    settings: RunSettings, study: Callable[[], StudyState], source_of: Callable[[str], str]
) -> dict[str, Proposer]:
    """One arm for each remote whose findings lie here, those that were confirmed most first."""
    shelf = Shelf.of(settings.layout)
    remotes = shelf.remotes()
    if not remotes or settings.grading is not None:
        return {}
    try:
        here = Here(settings.target, settings.harness_sha256, data_sha256(settings.data_dir))
    except (SwarmError, OSError):
        return {}
    so_far = {remote: trust(study(), remote) for remote in remotes}
    order = sorted(remotes, key=lambda remote: -(so_far[remote].confirmed + 1) / (so_far[remote].tried + 2))
    return {f"{ARM}{remote}": ImportProposer(remote, shelf, here, study, source_of) for remote in order}
