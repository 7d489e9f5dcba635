"""What a person may ask for with `swarm pod up`, and what of it makes no sense."""

from dataclasses import dataclass
from typing import cast, get_args

from swarm.errors import UsageError
from swarm.pods.launching import DEFAULT_IMAGE
from swarm.pods.ledger import Intent
from swarm.pods.provider import Cloud
from swarm.pods.unspoken import check_without_secrets, check_words
from swarm.repo import Repo

UNPAID_USD = 1.0  # a limit in money for what costs none


@dataclass(frozen=True)
class Wish:
    """The options, as they were given."""

    cards: tuple[str, ...] = ()
    hours: float = 8.0
    max_usd: float | None = None
    max_price: float | None = None
    cloud: str | None = None
    image: str | None = None
    volume: str | None = None
    workers: int = 2
    secrets: tuple[str, ...] = ()
    repository: str | None = None
    push_to: str | None = None
    idle_s: float = 1800.0
    min_gain: float | None = None
    fake: bool = False
    host: str | None = None
    up: tuple[str, ...] = ()

    @property
    def provider(self) -> str:
        return "fake" if self.fake else "host" if self.host is not None else "runpod"

    def intent(self, repo: Repo) -> Intent:
        """Raises UsageError naming the flag, its value and what is allowed."""
        self._check()
        intent = Intent(
            provider=self.provider,
            root=str(repo.root),
            cards=self.cards or ((self.host,) if self.host is not None else ()),
            cloud=cast("Cloud | None", self.cloud),
            image=self.image or DEFAULT_IMAGE,
            volume=self.volume,
            hours=self.hours,
            max_usd=self.max_usd if self.max_usd is not None else UNPAID_USD,
            max_price_usd_h=self.max_price,
            secrets=dict(_pair(text) for text in self.secrets),
            up=("--workers", str(self.workers), *self.up),
            commit=repo.head(),
            repository=self.repository,
            sync_url=self.push_to,
            idle_s=self.idle_s,
            min_gain_per_usd=self.min_gain,
            host=self.host,
        )
        _ = intent.caps  # says what of it makes no sense
        check_words(self.up)
        check_without_secrets(intent.model_dump_json())
        return intent

    def _check(self) -> None:
        if self.fake and self.host is not None:
            raise UsageError("--fake and --host are two providers; name one")
        if not self.cards and self.host is None:
            raise UsageError("--gpu names no card, such as --gpu 'NVIDIA GeForce RTX 4090'")
        if self.cloud is not None and self.cloud not in get_args(Cloud):
            raise UsageError(f"--cloud is {self.cloud!r}; it is secure or community")
        if self.max_usd is None and self.host is None:
            raise UsageError("--max-usd is missing: nothing is rented without a limit in money")
        if not 60 <= self.idle_s <= 86_400:
            raise UsageError(f"--idle-min is {self.idle_s / 60:g}; it is from 1 to 1440")
        if not 1 <= self.workers <= 64:
            raise UsageError(f"--workers is {self.workers}; it is from 1 to 64")


def _pair(text: str) -> tuple[str, str]:
    variable, _, name = text.partition("=")
    if not variable.isidentifier() or not name.isidentifier():
        raise UsageError(f"--secret is {text!r}; it has the form OPENAI_API_KEY=NAME, with the name of the secret")
    return variable, name
