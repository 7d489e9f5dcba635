"""From a repository and a person's wishes to a followed pod: the files that go with it, the order, the means.

Nothing here asks a person; the command line does.
"""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from swarm.errors import PodError
from swarm.pods.caps import Choice, choose
from swarm.pods.following import Follower
from swarm.pods.home import bring_home, bring_home_from
from swarm.pods.host import HostPods
from swarm.pods.inside import start
from swarm.pods.ledger import Intent, Rental
from swarm.pods.means import Brought, Means
from swarm.pods.notes import digest
from swarm.pods.order import DEFAULT_HOME, Source, StudyOrder, SyncTarget
from swarm.pods.provider import Offer, Pod, PodOrder, Pods, SecretRef, SshAddress
from swarm.pods.reach import FolderReach, Reach
from swarm.pods.renting import Renting, looked_up, rent
from swarm.pods.ssh import SshReach, announced_key, pin
from swarm.pods.unspoken import check_without_secrets
from swarm.repo import Repo

DEFAULT_IMAGE = "runpod/pytorch:1.0.2-cu1281-torch280-ubuntu2404"
BUNDLE_TIMEOUT_S = 300.0
MIRROR = "swarm_brain.jsonl"
_STUDY_ID = re.compile(rb'"study_id": ?"([^"]+)"')


def check_committed(repo: Repo) -> None:
    """Raises PodError naming what has changed: a pod gets what is committed, and nobody pays for yesterday's code."""
    changed = [path for path in repo.uncommitted("") if path != MIRROR]
    if changed:
        shown = ", ".join(changed[:4]) + (" and more" if len(changed) > 4 else "")
        raise PodError(f"{shown} differ from the last commit, and the pod gets what is committed: commit or stash them")


def bundled(repo: Repo, commit: str, path: Path) -> None:
    """The history up to a commit in one file; kept when it is there already."""
    if path.exists():
        return
    half = path.with_name(path.name + ".half")
    git = type(repo.git)(repo.git.folder, repo.git.flags, BUNDLE_TIMEOUT_S)
    git("bundle", "create", "--quiet", str(half), "HEAD")
    if git.line("rev-parse", "--verify", "HEAD^{commit}") != commit:
        raise PodError(f"HEAD moved away from {commit[:12]} meanwhile: run the command again")
    half.replace(path)


def chosen(pods: Pods, intent: Intent) -> Choice:
    """The offers of now, in the order of the person's preference and within the limits."""
    return choose([(card, pods.offers(card)) for card in intent.cards], intent.cloud, intent.caps)


@dataclass(frozen=True)
class Launch:
    """One rental of one repository."""

    renting: Renting
    repo: Repo
    rental: Rental

    @property
    def folder(self) -> Path:
        return self.renting.ledger.folder(self.rental.name)

    @property
    def mirror(self) -> Path:
        """The byte-for-byte copy of the pod's brain."""
        return self.folder / MIRROR

    @property
    def home_brain(self) -> Path:
        """Where its records come to."""
        return self.repo.root / MIRROR

    @property
    def bundle(self) -> Path | None:
        return None if self.rental.intent.repository else self.folder / "study.bundle"

    @property
    def studies_before(self) -> frozenset[str]:
        """Those that the pod's clone began with."""
        text = self.repo.git("show", f"{self.rental.intent.commit}:{MIRROR}") if self._has_brain() else b""
        return frozenset(found.decode() for found in _STUDY_ID.findall(text))

    def _has_brain(self) -> bool:
        return bool(self.repo.git("ls-tree", self.rental.intent.commit, MIRROR))

    def shell(self, pod: Pod) -> list[str]:
        """The command that opens a shell there. Raises PodError while there is no address."""
        reach = self.reach(pod)
        if isinstance(reach, SshReach):
            return reach.shell()
        if pod.folder is not None:
            return ["bash", "-c", f"cd {shlex.quote(pod.folder)} && exec bash -i"]
        raise PodError(f"{pod.name} has no address yet: swarm pod status says how far it is")

    def _ssh(self, pod: Pod, address: SshAddress) -> Reach | None:
        """None until its host key is known, which its own log tells: nobody is trusted at first sight. A person's own
        machine is known to their own ssh, or refused."""
        if isinstance(self.renting.pods, HostPods):
            return self.renting.pods.reach(pod)
        known, told = self.folder / f"known_hosts-{address.host}-{address.port}", self.folder / "host_key"
        if not told.exists():
            key = announced_key(self.renting.pods.logs(pod.id))
            if key is None:
                return None
            told.write_text(key, encoding="ascii")
        pin(known, address, told.read_text(encoding="ascii"))
        return SshReach(address, DEFAULT_HOME, known)

    def rented(self, offers: Sequence[Offer]) -> Follower:
        """Rents it, or finds what was rented before."""
        if self.bundle is not None:
            bundled(self.repo, self.rental.intent.commit, self.bundle)
        rent(self.renting, self.rental, offers, self._order)
        return self.follower()

    def follower(self) -> Follower:
        rental = looked_up(self.renting, self.rental.name)
        pushed = self._collect_pushed if rental.intent.sync_url is not None else None
        return Follower(self.renting, rental, Means(self.reach, self._collect, self.bundle, pushed))

    def reach(self, pod: Pod) -> Reach | None:
        """None while it has no address."""
        if pod.folder is not None:
            return FolderReach(Path(pod.folder))
        return None if pod.ssh is None else self._ssh(pod, pod.ssh)

    def _collect(self, reach: Reach) -> Brought:
        return bring_home(reach, self.repo, self.home_brain, self.mirror)

    def _collect_pushed(self) -> Brought:
        url = self.rental.intent.sync_url
        assert url is not None
        return bring_home_from(url, self.rental.name, self.repo, self.home_brain, self.mirror)

    def _order(self, offer: Offer, deadline_at: float) -> PodOrder:
        intent, now = self.rental.intent, self.renting.clock.now()
        lifetime_s = deadline_at - now
        study = StudyOrder(
            pod_name=self.rental.name,
            source=self._source(),
            up=intent.up,
            issued_at=now,
            deadline_at=deadline_at,
            lifetime_s=lifetime_s,
            price_usd_h=offer.price_usd_h,
            max_usd=intent.max_usd,
            idle_s=intent.idle_s,
            min_gain_per_usd=intent.min_gain_per_usd,
            sync=SyncTarget(kind="git" if intent.sync_url else "pull", url=intent.sync_url),
        )
        begin = start(study)
        order = PodOrder(
            name=self.rental.name,
            card=offer.card,
            cloud=offer.cloud,
            image=intent.image,
            command=begin.command,
            env={**begin.env, **{name: SecretRef(secret=secret) for name, secret in intent.secrets.items()}},
            volume=intent.volume,
            hours=intent.hours,
            max_usd=intent.max_usd,
            max_price_usd_h=intent.max_price_usd_h,
        )
        check_without_secrets(order.model_dump_json())
        return order

    def _source(self) -> Source:
        intent = self.rental.intent
        if self.bundle is None:
            return Source(kind="repository", commit=intent.commit, url=intent.repository)
        return Source(kind="bundle", commit=intent.commit, sha256=digest(self.bundle))
