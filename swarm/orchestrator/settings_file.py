"""`settings.json` of a study: written when it is opened, read by its workers and by `--resume`."""

from pathlib import Path

from pydantic import ValidationError

from swarm.errors import SwarmError
from swarm.study.settings import RunSettings


def save_settings(settings: RunSettings) -> Path:
    path = settings.layout.settings(settings.study_id)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(settings.model_dump_json(indent=1), encoding="utf-8")
    return path


def load_settings(path: Path) -> RunSettings:
    """Raises SwarmError when the file is not the settings of a study."""
    try:
        return RunSettings.model_validate_json(path.read_bytes())
    except OSError as error:
        raise SwarmError(f"cannot read the settings of the study: {error}") from None
    except ValidationError as error:
        raise SwarmError(f"{path} is not the settings of a study: {error.errors()[0]['msg']}") from None
