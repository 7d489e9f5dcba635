"""What the commands of `swarm pod` do, each in a few calls of `swarm.pods`."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rich.console import Console

from swarm.cli.pod_text import StudyLines, ask, moment, tell_accounts, tell_offers, tell_outcome, to_stderr
from swarm.cli.pod_view import View, frames
from swarm.cli.terminal import lasting_console
from swarm.clock import SystemClock
from swarm.errors import NotARepository, PodError, RepoError
from swarm.pods.ending import bring, take_down, turned
from swarm.pods.following import Follower
from swarm.pods.launching import Launch, check_committed, chosen
from swarm.pods.ledger import EntryKind, Intent, Ledger, default_ledger
from swarm.pods.order import ENTRY_LOG, STUDY_LOG
from swarm.pods.provider import Offer, Pod
from swarm.pods.reach import OutOfReach, Reach
from swarm.pods.reconciling import Account
from swarm.pods.registry import accounts, costs_now, leave, named, of_repository, opened, orphan, repository_lock
from swarm.pods.renting import Renting, Say, begin, end, unique_name
from swarm.pods.wish import Wish
from swarm.records import block
from swarm.repo import Repo

POLL_S = {"fake": 0.5, "host": 3.0, "runpod": 10.0}


def up_and_follow(wish: Wish, cwd: Path, *, yes: bool, as_json: bool) -> int:
    """0 when the pod has ended and all is home; 1 when something was not; 130 after Ctrl-C, with the pod running."""
    with _saying(as_json) as say, ExitStack() as afterwards:
        clock, ledger, repo = SystemClock(), Ledger(default_ledger()), Repo.open(cwd)
        intent = wish.intent(repo)
        with ledger.alone(repository_lock(repo.root)):
            pods = opened(intent.provider, ledger, clock, intent.host)
            afterwards.callback(leave, pods)
            launch = _wanted(Renting(pods, ledger, clock, say), repo, intent, yes=yes)
            follower = launch.follower()
        name = launch.rental.name
        say(f"{name} is there. It ends by itself at {moment(follower.rental.deadline_at)} at the latest.")
        return _follow(follower, launch, StudyLines(launch, say), as_json=as_json)


def _wanted(renting: Renting, repo: Repo, intent: Intent, *, yes: bool) -> Launch:
    """With its pod: the one that this repository has, or a new one. Only one process of a repository at a time."""
    ledger, say = renting.ledger, renting.say
    rental = of_repository(ledger, repo.root, intent.provider)
    if rental is not None and rental.asked is None:
        end(renting, rental.name, "it was wanted, and nothing was asked for", 0.0)
        rental = None
    offers: tuple[Offer, ...] = ()
    if rental is not None:
        say(f"Going on with {rental.name}, which this repository has asked for before; its own options count.")
        offers = chosen(renting.pods, rental.intent).offers if rental.pod_id is None else ()
    else:
        check_committed(repo)
        for line in costs_now(ledger, renting.clock):
            say(line)
        choice = chosen(renting.pods, intent)
        tell_offers(choice, intent, say)
        ask("Rent the first of these that can be had?", yes=yes)
        offers = choice.offers
        rental = begin(renting, unique_name(repo.root, renting.clock.now()), intent)
    launch = Launch(renting, repo, rental)
    if rental.pod_id is None:
        launch.rented(offers)
    elif rental.stopped:
        renting.note(rental.name, EntryKind.STARTED)
    return launch


def watch_pod(name: str | None, cwd: Path, *, as_json: bool) -> int:
    """As `swarm watch`, from what came home; with --json what is said of the study goes to stderr as lines."""
    with lasting_console(stderr=as_json) as console, _launched(name, cwd, said_on(console)) as launch:
        follower = launch.follower()
        if as_json:
            return _follow(follower, launch, StudyLines(launch, launch.renting.say), as_json=as_json)
        with frames(launch, console) as view:
            reason = _followed(follower, launch, view)
        return tell_outcome(launch, follower, reason, as_json=as_json)


def sync_pod(name: str | None, cwd: Path, *, as_json: bool) -> int:
    with _launched(name, cwd, to_stderr) as launch:
        follower = launch.follower()
        reason = bring(follower, POLL_S[launch.rental.intent.provider])
        return tell_outcome(launch, follower, reason, as_json=as_json)


def end_pod(name: str | None, cwd: Path, *, now: bool, yes: bool, as_json: bool) -> int:
    found = orphan(Ledger(default_ledger()), SystemClock(), to_stderr, name) if name is not None else None
    if found is not None and found[1].pod is not None:
        pods, account = found
        ask(f"{account.line()}. End it? What is on it is lost.", yes=yes)
        pods.terminate(found[1].pod.id)
        print(json.dumps({"schema_version": 1, "name": name, "state": "ended"}) if as_json else f"{name} has ended.")
        return 0
    with _launched(name, cwd, to_stderr) as launch:
        follower = launch.follower()
        reason = take_down(follower, POLL_S[launch.rental.intent.provider], now=now)
        return tell_outcome(launch, follower, reason, as_json=as_json)


def stop_pod(name: str | None, cwd: Path, *, as_json: bool) -> int:
    with _launched(name, cwd, to_stderr) as launch:
        follower = launch.follower()
        reason = turned(follower)
        if reason is None and follower.pod is not None:
            launch.renting.note(launch.rental.name, EntryKind.STOPPED)  # first: who follows it must not start it again
            launch.renting.pods.stop(follower.pod.id)
            reason = f"stopped by a person; its disk costs until swarm pod down {launch.rental.name}"
            follower.look()
        return tell_outcome(launch, follower, reason, as_json=as_json)


def print_status(name: str | None, cwd: Path, *, as_json: bool) -> int:
    with _launched(name, cwd, to_stderr) as launch:
        follower = launch.follower()
        follower.look()
        tell_outcome(launch, follower, None, as_json=as_json)
        return 0


def print_list(*, as_json: bool) -> int:
    ledger = Ledger(default_ledger())
    found = list(accounts(ledger, SystemClock(), to_stderr))
    known = [one for one in found if isinstance(one, Account)]
    ended = [rental for rental in ledger.rentals().values() if rental.ended is not None]
    return tell_accounts(known, [str(one) for one in found if isinstance(one, PodError)], ended, as_json=as_json)


def print_logs(name: str | None, cwd: Path, *, follow: bool, as_json: bool) -> int:
    with _launched(name, cwd, to_stderr) as launch:
        offsets = {ENTRY_LOG: 0, STUDY_LOG: 0}
        while True:
            pod = _pod(launch)
            if pod is None:
                to_stderr(f"{launch.rental.name} has ended, and its log with it. Its study is here: swarm log")
            reach = launch.reach(pod) if pod is not None else None
            for log, start in offsets.items():
                data = _read(reach, log, start)
                offsets[log] += len(data)
                if data:
                    text = block(data.decode(errors="replace"))
                    sys.stdout.write(json.dumps({"log": log, "text": text}) + "\n" if as_json else text)
                    sys.stdout.flush()
            if not follow or pod is None or not pod.state.costs:
                return 0
            launch.renting.clock.sleep(POLL_S[launch.rental.intent.provider])


def open_ssh(name: str | None, cwd: Path, *, as_json: bool) -> int:
    with _launched(name, cwd, to_stderr) as launch:
        pod = _pod(launch)
        if pod is None:
            raise PodError(f"{launch.rental.name} is gone: swarm pod status says why")
        command = launch.shell(pod)
        if as_json:
            print(json.dumps({"schema_version": 1, "command": command}))
            return 0
        return subprocess.run(command, check=False).returncode


def _follow(follower: Follower, launch: Launch, view: View, *, as_json: bool) -> int:
    reason = _followed(follower, launch, view)
    return tell_outcome(launch, follower, reason, as_json=as_json)


def _followed(follower: Follower, launch: Launch, view: View) -> str:
    """Why nothing is left to do."""
    name = launch.rental.name
    try:
        while (reason := follower.turn()) is None:
            view.tell()
            launch.renting.clock.sleep(POLL_S[launch.rental.intent.provider])
        view.tell()
    except KeyboardInterrupt:
        launch.renting.say(f"{name} goes on until its deadline. Back to it: swarm pod watch. End it: swarm pod down.")
        raise
    return reason


@contextmanager
def _saying(as_json: bool) -> Iterator[Say]:
    with lasting_console(stderr=as_json) as console:
        yield said_on(console)


def said_on(console: Console) -> Say:
    return lambda text: console.print(text, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def _launched(name: str | None, cwd: Path, say: Say) -> Iterator[Launch]:
    ledger, clock = Ledger(default_ledger()), SystemClock()
    rental = named(ledger, name, _root(cwd))
    repo = Repo.open(Path(rental.intent.root))
    pods = opened(rental.intent.provider, ledger, clock, rental.intent.host)
    try:
        yield Launch(Renting(pods, ledger, clock, say), repo, rental)
    finally:
        leave(pods)


def _root(cwd: Path) -> Path | None:
    try:
        return Repo.open(cwd).root
    except NotARepository:
        return None


def _pod(launch: Launch) -> Pod | None:
    return launch.renting.pods.get(launch.rental.pod_id) if launch.rental.pod_id is not None else None


def _read(reach: Reach | None, name: str, start: int) -> bytes:
    try:
        return b"" if reach is None else reach.read(name, start)
    except (OutOfReach, RepoError):
        return b""
