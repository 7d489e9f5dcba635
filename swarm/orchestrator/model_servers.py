"""The models of a study, checked before the night: what a worker needs installed, and what of its server is wrong."""

from collections.abc import Iterable, Mapping

from swarm.errors import MissingExtra, OutdatedExtra, UsageError
from swarm.study.model_server import check_server, names_a_model, tidy_url
from swarm.study.settings import ProposerSettings
from swarm.version import missing, too_old


def need_extras(proposers: Iterable[ProposerSettings], *, sealed: bool = True) -> None:
    """A sealed target trains with torch; a command of one's own brings what it needs. Raises MissingExtra or
    OutdatedExtra."""
    specs = {one.spec for chosen in proposers for one in (chosen, *chosen.others)}
    needed = {"train": sealed, "optuna": "tpe" in specs and not sealed, "models": "openai" in specs}
    for extra in (name for name, is_needed in needed.items() if is_needed):
        if absent := missing(extra):
            raise MissingExtra(extra, absent)
        if old := too_old(extra):
            raise OutdatedExtra(extra, old)


def check_models(proposers: Iterable[ProposerSettings], environ: Mapping[str, str]) -> None:
    """Raises UsageError for a server or a key that no worker could use. Nobody is asked."""
    for chosen in (one for first in proposers for one in (first, *first.others)):
        if chosen.spec == "openai" or (chosen.spec == "auto" and names_a_model(chosen, environ)):
            _check(chosen, environ)


def _check(chosen: ProposerSettings, environ: Mapping[str, str]) -> None:
    model = chosen.model or environ.get("SWARM_MODEL")
    if not model:
        raise UsageError("no model is named: give --proposer openai:MODEL, or set SWARM_MODEL")
    url = tidy_url(chosen.base_url or environ.get("OPENAI_BASE_URL"))
    key = environ.get("OPENAI_API_KEY", "").strip() or None
    check_server(model, url, key)
    if url is None and key is None:
        raise UsageError(
            f"{model} would be asked at OpenAI's own server, and there is no key: set OPENAI_API_KEY, or give the "
            f"address of another server, --proposer openai:{model}@http://HOST:PORT/v1 or OPENAI_BASE_URL"
        )
