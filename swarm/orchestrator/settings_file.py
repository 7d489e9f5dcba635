"""`settings.json` of a study: written when it is opened, read by its workers and by `--resume`."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from swarm.errors import SwarmError
from swarm.failpoints import failpoint
from swarm.study.settings import RunSettings


def save_settings(settings: RunSettings) -> Path:
    path = settings.layout.settings(settings.study_id)
    with saved_settings(settings):
        return path


@contextlib.contextmanager
def saved_settings(settings: RunSettings) -> Iterator[None]:
    """Around the writing of the study's record: a study has both or neither. Those of a new study are there before its
    record, so that what the brain knows can be resumed; those of a resumed one change after it."""
    path = settings.layout.settings(settings.study_id)
    draft = path.with_suffix(".new")
    known = path.parent.exists()
    recorded = False
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        failpoint("settings.before_draft")
        draft.write_text(settings.model_dump_json(indent=1), encoding="utf-8")
        failpoint("settings.drafted")
        if not known:
            draft.replace(path)
            failpoint("settings.placed")
        yield
        recorded = True
        if known:
            draft.replace(path)
            failpoint("settings.replaced")
    except OSError as problem:
        raise SwarmError(
            f"cannot write {draft}: {problem.strerror}. Free some space or its folder, then start again."
        ) from None
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
            if not known and not recorded:
                path.unlink(missing_ok=True)
                path.parent.rmdir()


def load_settings(path: Path) -> RunSettings:
    """Raises SwarmError when the file is not the settings of a study."""
    try:
        return RunSettings.model_validate_json(path.read_bytes())
    except OSError as error:
        raise SwarmError(f"cannot read the settings of the study: {error}") from None
    except ValidationError as error:
        raise SwarmError(f"{path} is not the settings of a study: {error.errors()[0]['msg']}") from None
