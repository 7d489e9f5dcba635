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
        named = chosen.model is not None or names_a_model(chosen, environ)
        if chosen.spec == "openai" or (chosen.spec == "auto" and named):
            _check(chosen, environ)


def refuse_a_model_that_nobody_asks(proposers: Iterable[ProposerSettings]) -> None:
    """Raises UsageError when a model or its server is given, and every proposer is one that asks none."""
    every = tuple(proposers)
    if any(chosen.spec in ("openai", "auto") or chosen.spec.startswith("cli:") for chosen in every):
        return
    for flag, value in (("--model", every[0].model), ("--base-url", every[0].base_url)):
        if value is not None:
            raise UsageError(
                f"{flag} is {value!r}, and --proposer {every[0].spec} asks no model: leave one of them out"
            )


def model_without_a_server(proposers: Iterable[ProposerSettings], environ: Mapping[str, str]) -> str | None:
    """What is to be said where `auto` could ask the model of the environment if it knew where."""
    model = environ.get("SWARM_MODEL")
    unasked = any(chosen.spec == "auto" and not names_a_model(chosen, environ) for chosen in proposers)
    if not model or not unasked:
        return None
    return (
        f"SWARM_MODEL is {model}, and there is no OPENAI_API_KEY and no OPENAI_BASE_URL: no model is asked, the "
        "embedded proposers do the work."
    )


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
