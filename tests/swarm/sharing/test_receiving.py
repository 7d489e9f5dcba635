"""Hostile findings: each is refused, and the one good one among them is not."""

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from factories.findings import DATA, HARNESS, Swarm, body, fields

from swarm.errors import RepoError, ShareError
from swarm.repo import findings
from swarm.sharing import remote
from swarm.sharing.finding import MAX_FILE_BYTES, Finding, identity
from swarm.sharing.receiving import Here, Refused, Taken, judged, received
from swarm.sharing.remote import Letter, letters, post
from swarm.sharing.shelf import Shelf
from swarm.sharing.signing import sign

HERE = Here("tiny", HARNESS, DATA)
NESTED = b"[" * 20_000 + b"]" * 20_000


@pytest.fixture(scope="module")
def friends(tmp_path_factory: pytest.TempPathFactory) -> Swarm:
    return Swarm.made(tmp_path_factory.mktemp("keys"), "friends")


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Swarm:
    return Swarm.made(tmp_path_factory.mktemp("keys"), "others")


@pytest.fixture(scope="module")
def accepted(tmp_path_factory: pytest.TempPathFactory, friends: Swarm, others: Swarm) -> Path:
    path = tmp_path_factory.mktemp("accepted") / "accepted_signers"
    path.write_text(friends.accepted_line() + others.accepted_line())
    return path


def test_what_an_accepted_key_has_signed_and_what_fits_is_taken(friends: Swarm, accepted: Path) -> None:
    answer = judged(friends.letter(body()), accepted, HERE)
    assert isinstance(answer, Taken) and answer.id == identity(body()) and isinstance(answer.what, Finding)


def without_signature(friends: Swarm, others: Swarm) -> Letter:
    return replace(friends.letter(body()), signature=b"")


def changed_after_signing(friends: Swarm, others: Swarm) -> Letter:
    signed, forged = friends.letter(body()), body(note="x")
    return Letter("friends", f"{identity(forged)}.json", forged, signed.signature)


def signature_of_something_else(friends: Swarm, others: Swarm) -> Letter:
    return replace(friends.letter(body()), signature=friends.letter(body(note="x")).signature)


def in_the_name_of_another(friends: Swarm, others: Swarm) -> Letter:
    return others.letter(body(), swarm="friends")


def says_another_swarm(friends: Swarm, others: Swarm) -> Letter:
    return others.letter(body(swarm="friends"))


def unknown_key(friends: Swarm, others: Swarm) -> Letter:
    return replace(friends.letter(body()), swarm="strangers")


def other_namespace(friends: Swarm, others: Swarm) -> Letter:
    command = ["ssh-keygen", "-Y", "sign", "-q", "-f", str(friends.key), "-n", "git"]
    done = subprocess.run(command, input=body(), capture_output=True, check=True, timeout=20)
    return replace(friends.letter(body()), signature=done.stdout)


def rubbish_for_a_signature(friends: Swarm, others: Swarm) -> Letter:
    return replace(friends.letter(body()), signature=b"-----BEGIN SSH SIGNATURE-----\n" + b"A" * 4000)


def huge_signature(friends: Swarm, others: Swarm) -> Letter:
    return replace(friends.letter(body()), signature=friends.letter(body()).signature + b"\n" * 100_000)


def another_name(friends: Swarm, others: Swarm) -> Letter:
    return friends.letter(body(), name=f"{'0' * 64}.json")


def _told(**more: object) -> object:
    def made(friends: Swarm, others: Swarm) -> Letter:
        return friends.letter(body(**more))

    return made


def _raw(text: bytes) -> object:
    def made(friends: Swarm, others: Swarm) -> Letter:
        return friends.letter(text)

    return made


def edit(**more: str) -> list[dict[str, str]]:
    return [{**fields()["edits"][0], **more}]


HOSTILE = {
    "unsigned": without_signature,
    "changed after signing": changed_after_signing,
    "signature of something else": signature_of_something_else,
    "in the name of another": in_the_name_of_another,
    "says another swarm": says_another_swarm,
    "unknown key": unknown_key,
    "other namespace": other_namespace,
    "rubbish for a signature": rubbish_for_a_signature,
    "huge signature": huge_signature,
    "replayed under another name": another_name,
    "oversized": _told(note="x" * (MAX_FILE_BYTES + 1)),
    "a long note": _told(note="x" * 301),
    "an edit without end": _told(edits=edit(replace="x" * 30_000)),
    "too many edits": _told(edits=edit() * 61),
    "no edits": _told(edits=[]),
    "a path that climbs": _told(edits=edit(path="../swarm/harness/loop.py")),
    "an absolute path": _told(edits=edit(path="/etc/passwd")),
    "a hook of git": _told(edits=edit(path=".git/hooks/pre-commit")),
    "a path up in its middle": _told(edits=edit(path="a/../../b.py")),
    "another harness": _told(harness_sha256="d" * 64),
    "other data": _told(data_sha256="d" * 64),
    "another target": _told(target="models/resnext"),
    "a name that is a path": _told(swarm="../friends"),
    "not a number": _raw(body().replace(b'"mean": 1.0', b'"mean": NaN')),
    "an infinite number": _raw(body().replace(b'"mean": 1.0', b'"mean": 1e999')),
    "an unknown field": _told(run="rm -rf /"),
    "another kind": _told(kind="swarm-command-1"),
    "no JSON": _raw(b"import os; os.system('id')"),
    "nested without end": _raw(NESTED),
    "a list": _raw(json.dumps([fields()]).encode()),
    "nothing": _raw(b""),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_finding_has_no_effect(name: str, friends: Swarm, others: Swarm, accepted: Path) -> None:
    letter = HOSTILE[name](friends, others)  # type: ignore[operator]
    answer = judged(letter, accepted, HERE)
    assert isinstance(answer, Refused) and answer.why.isprintable() and len(answer.why) < 200


def test_there_are_many_of_them_and_without_a_list_nobody_is_believed(friends: Swarm, tmp_path: Path) -> None:
    assert len(HOSTILE) >= 20
    assert isinstance(judged(friends.letter(body()), tmp_path / "none", HERE), Refused)


def test_what_a_refusal_says_moves_no_cursor(friends: Swarm, accepted: Path) -> None:
    answer = judged(friends.letter(body(standing="\x1b[2J" * 100)), accepted, HERE)
    assert isinstance(answer, Refused) and answer.why.isprintable()


def _files(swarm: Swarm, text: bytes) -> dict[str, bytes]:
    return {f"{identity(text)}.json": text, f"{identity(text)}.json.sig": sign(text, swarm.key)}


def _bare(folder: Path) -> str:
    subprocess.run(["git", "init", "-q", "--bare", str(folder)], check=True, timeout=20)
    return str(folder)


@pytest.mark.parametrize("kind", ["git", "folder"])
def test_findings_travel_over_a_remote_and_add_up(kind: str, tmp_path: Path, friends: Swarm, others: Swarm) -> None:
    address = _bare(tmp_path / "hub.git") if kind == "git" else str(tmp_path / "hub")
    (tmp_path / "hub").mkdir(exist_ok=True)
    first, second = body(), body(note="again")
    assert post(address, "friends", _files(friends, first)) == 2
    assert post(address, "friends", {**_files(friends, first), **_files(friends, second)}) == 2
    assert post(address, "others", _files(others, body(swarm="others"))) == 2
    found = {(letter.swarm, letter.body) for letter in letters(address)}
    assert found == {("friends", first), ("friends", second), ("others", body(swarm="others"))}
    assert all(letter.signature for letter in letters(address))


def test_what_is_no_plain_file_with_the_right_name_is_not_read(tmp_path: Path, friends: Swarm) -> None:
    """Of a folder: links, pipes, large files, names that lead elsewhere."""
    hub = tmp_path / "hub" / "friends"
    hub.mkdir(parents=True)
    (hub / f"{'1' * 64}.json").symlink_to("/etc/passwd")
    (hub / f"{'2' * 64}.json").write_bytes(b"x" * (MAX_FILE_BYTES + 1))
    os.mkfifo(hub / f"{'3' * 64}.json")
    assert list(letters(str(tmp_path / "hub"))) == []


def test_links_and_large_files_in_a_tree_are_not_read(tmp_path: Path, friends: Swarm) -> None:
    address = _bare(tmp_path / "hub.git")

    def git(*arguments: str, stdin: bytes = b"") -> str:
        command = ["git", "-c", "user.name=x", "-c", "user.email=x@y", "-C", address, *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, check=True, timeout=20).stdout.decode().strip()

    small, large = (git("hash-object", "-w", "--stdin", stdin=text) for text in (b"/etc/passwd", b"x" * 100_000))
    lines = [f"120000 blob {small}\t{'1' * 64}.json", f"100644 blob {large}\t{'2' * 64}.json"]
    lines += [f"100644 blob {small}\tREADME", f"100755 blob {small}\t{'3' * 64}.json"]
    lines.sort(key=lambda line: line.split("\t")[1])
    tree = git("mktree", stdin="".join(f"{line}\n" for line in lines).encode())
    git("update-ref", "refs/swarm/findings/friends", git("commit-tree", tree, "-m", "x"))
    git("update-ref", "refs/swarm/findings/UPPER.x", git("commit-tree", tree, "-m", "x"))
    assert list(letters(address)) == []


@pytest.mark.parametrize("address", ["--upload-pack=touch /tmp/x", "ext::sh -c id", "http://example.org/hub.git"])
def test_an_address_that_runs_something_or_is_not_safe_is_refused(address: str) -> None:
    with pytest.raises((RepoError, ShareError)):
        list(letters(address))


def test_the_shelf_keeps_what_was_taken_as_we_write_it(tmp_path: Path, friends: Swarm, accepted: Path) -> None:
    shelf = Shelf(tmp_path / "shared")
    for answer in received([friends.letter(body()), without_signature(friends, friends)], accepted, HERE):
        if isinstance(answer, Taken):
            assert shelf.put("hub", answer.id, answer.what) and not shelf.put("hub", answer.id, answer.what)
    assert shelf.remotes() == ("hub",)
    assert [item.what.swarm for item in shelf.read("hub")] == ["friends"]
    assert received([friends.letter(body())], accepted, HERE, me="friends") == []


def test_a_swarm_that_floods_a_remote_keeps_nobody_else_from_being_heard(
    tmp_path: Path, friends: Swarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "MAX_FINDINGS", 2)
    monkeypatch.setattr(findings, "MAX_FILES", 5)
    for address in (_bare(tmp_path / "hub.git"), str(tmp_path / "hub")):
        (tmp_path / "hub").mkdir(exist_ok=True)
        flood = {f"{number:064x}.json": b"{}" for number in range(20)}
        assert post(address, "aaa", flood) == 20
        assert post(address, "friends", _files(friends, body())) == 2
        heard = [letter.swarm for letter in letters(address)]
        assert heard.count("friends") == 1 and heard.count("aaa") <= 5
