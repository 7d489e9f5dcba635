"""`swarm report`, and what a report shows beside the records: diffs, the chain, certificates."""

from collections.abc import Callable
from pathlib import Path

from swarm.brain import Brain, verify
from swarm.cli.programs import Sources
from swarm.cli.read import find_study, open_brain, root_of
from swarm.errors import SwarmError
from swarm.orchestrator.audit import audit_of, lines
from swarm.repo import Repo
from swarm.report.evidence import Evidence, gather
from swarm.study.state import Program, StudyState
from swarm.verdict.certificate import Certificate


def write_report(brain: Path | None, study_id: str | None, folder: Path) -> None:
    from swarm.report.export.stores import own_folder
    from swarm.report.render import report_html, report_markdown

    opened = open_brain(brain)
    study = find_study(opened, study_id)
    evidence = evidence_of(brain, opened)(study)
    own_folder(folder)
    (folder / "report.html").write_text(report_html(study, evidence), encoding="utf-8")
    (folder / "report.md").write_text(report_markdown(study, evidence), encoding="utf-8")
    print(f"Wrote {folder / 'report.html'} and {folder / 'report.md'}")


def evidence_of(brain: Path | None, opened: Brain, *, check: bool = True) -> Callable[[StudyState], Evidence]:
    """Gathers it for a study of this brain; a program's text is read once. `check`: whether the chain holds."""
    known: dict[tuple[str, str], str] = {}

    def evidence(study: StudyState) -> Evidence:
        sources = _sources(brain, opened, study)

        def text_of(program: Program) -> str:
            key = (study.study_id, program.name)
            if key not in known:
                if isinstance(sources, SwarmError):
                    raise sources
                known[key] = sources.text(program)
            return known[key]

        chain = verify(opened.path) if check and opened.path.exists() else None
        where = None if isinstance(sources, SwarmError) else sources.programs.where
        certificates = tuple(_certificates(opened.path, study.study_id))
        return gather(study, text_of, path=where, chain=chain, certificates=certificates)

    return evidence


def _sources(brain: Path | None, opened: Brain, study: StudyState) -> Sources | SwarmError:
    """Or why there are none, such as no repository around the brain."""
    try:
        return Sources(Repo.open(root_of(brain)), study, opened.path)
    except SwarmError as error:
        return error


def _certificates(brain: Path, study_id: str) -> list[Certificate]:
    """A certificate of another version is left out: `swarm certify` reads it."""
    found = []
    for fields in lines(audit_of(brain)):
        if (fields.get("kind"), fields.get("study_id")) != ("certificate", study_id):
            continue
        try:
            found.append(Certificate.model_validate(fields))
        except ValueError:
            continue
    return found
