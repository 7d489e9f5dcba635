"""What must stand in no order, no ledger and no log: keys, by the environment that holds them and by how they look."""

import os
import re
from collections.abc import Sequence

from swarm.errors import UsageError

MIN_SECRET = 12  # characters; what is shorter is no key, and may stand anywhere by chance
_SECRET_NAME = re.compile(r"key|token|secret|passw|credential|notify|webhook", re.IGNORECASE)
_KEY = re.compile(r"\b(sk-|rpa_|gh[opsu]_|github_pat_|hf_|glpat-|xox[abps]-)[A-Za-z0-9_-]{16,}|\bAKIA[A-Z0-9]{16}\b")
_IN_AN_ADDRESS = re.compile(r"[a-z0-9+]://[^/\s@\"]*:[^/\s@\"]+@|https?://[^/\s@\":]{12,}@", re.IGNORECASE)
_STORE = "Put it into the provider's secret store and name it"


def check_without_secrets(text: str) -> None:
    """Raises UsageError, which shows nothing of it, when the text holds the value of a variable of this process that is
    named like a secret, or what looks like a key or like an address with a password in it."""
    for name, value in os.environ.items():
        if _SECRET_NAME.search(name) and len(value) >= MIN_SECRET and value in text:
            raise UsageError(f"the order would hold the value of ${name}. {_STORE}: --secret {name}=NAME")
    if (key := _KEY.search(text)) is not None:
        raise UsageError(f"the order would hold a key ({key[0][:4]}...). {_STORE}: --secret VARIABLE=NAME")
    if _IN_AN_ADDRESS.search(text) is not None:
        raise UsageError(
            f"the order would hold an address with a password in it. {_STORE}: --secret SWARM_POD_GIT_TOKEN=NAME for a "
            "git remote, --secret OPENAI_API_KEY=NAME for a model"
        )


def check_words(up: Sequence[str]) -> None:
    """Raises UsageError for an option of `swarm up` whose value is a secret by its nature."""
    if any(word == "--notify" or word.startswith("--notify=") for word in up):
        raise UsageError(f"--notify holds an address that is a key in itself. {_STORE}: --secret SWARM_NOTIFY=NAME")
