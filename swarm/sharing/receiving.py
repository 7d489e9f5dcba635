"""What of a remote's letters is believed to be what it says: its signer, its form, and that it fits a study here."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from swarm.records import one_line
from swarm.sharing.finding import MAX_FILE_BYTES, Finding, Replication, identity, read
from swarm.sharing.remote import Letter
from swarm.sharing.signing import is_signed


@dataclass(frozen=True)
class Refused:
    """A letter that has no effect, and why. `swarm` is what its place says."""

    swarm: str
    name: str
    why: str


@dataclass(frozen=True)
class Taken:
    id: str
    what: Finding | Replication


@dataclass(frozen=True)
class Here:
    """What a finding must have been measured with to be tried."""

    target: str
    harness_sha256: str
    data_sha256: str

    def unlike(self, what: Finding | Replication) -> str | None:
        """Why its numbers and a study's here would not be of one thing."""
        if isinstance(what, Finding) and what.target != self.target:
            return f"it is for the target {what.target}"
        if (what.harness_sha256, what.data_sha256) != (self.harness_sha256, self.data_sha256):
            return "it was measured with another harness or other data"
        return None


def received(
    letters: Iterable[Letter], accepted: Path, here: Here | None, me: str | None = None
) -> list[Taken | Refused]:
    """Each letter, judged; own ones are passed over. Without `here` the harness and the data are compared when a study
    is there that could try it."""
    return [judged(letter, accepted, here) for letter in letters if letter.swarm != me]


def judged(letter: Letter, accepted: Path, here: Here | None) -> Taken | Refused:
    """The signature comes before anything of it is read."""
    why = _why_not_signed(letter, accepted)
    if why is not None:
        return Refused(letter.swarm, letter.name, why)
    try:
        what = read(letter.body)
    except (ValueError, RecursionError) as error:
        return Refused(letter.swarm, letter.name, one_line(f"it is no finding: {error}", 160))
    if what.swarm != letter.swarm:
        why = "it names another swarm than the one that signed it"
    elif here is not None:
        why = here.unlike(what)
    return Taken(identity(letter.body), what) if why is None else Refused(letter.swarm, letter.name, why)


def _why_not_signed(letter: Letter, accepted: Path) -> str | None:
    if len(letter.body) > MAX_FILE_BYTES:
        return f"it has {len(letter.body)} bytes, limit {MAX_FILE_BYTES}"
    if not letter.signature:
        return "it is not signed"
    if not is_signed(letter.body, letter.signature, letter.swarm, accepted):
        return "no key that you accept for this swarm has signed it"
    if letter.name != f"{identity(letter.body)}.json":
        return "its name is not the hash of what it says"
    return None
