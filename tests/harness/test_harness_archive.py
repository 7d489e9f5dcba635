"""The CIFAR-100 archive, from a real HTTP server: resume, broken mirrors, wrong checksums, hostile pickles."""

import hashlib
import io
import os
import pickle
import re
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from swarm.harness import archive, prepare
from swarm.harness.archive import DataError, Unreachable
from swarm.harness.layout import Layout

ROWS_A_CLASS = 61


def member(rows_a_class: int, start: int) -> bytes:
    """A member as Python 2 wrote it: a dictionary with byte keys and a uint8 matrix."""
    labels = np.repeat(np.arange(100), rows_a_class)
    pixels = np.zeros((len(labels), 3072), np.uint8)
    pixels[:, :4] = (np.arange(len(labels)) + start).astype("<u4").view(np.uint8).reshape(-1, 4)
    return pickle.dumps({b"data": pixels, b"fine_labels": labels.tolist()}, protocol=2)


def pack(folder: Path, members: dict[str, bytes]) -> Path:
    path = folder / archive.NAME
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        for name, content in members.items():
            entry = tarfile.TarInfo(f"cifar-100-python/{name}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return path


@pytest.fixture(scope="module")
def small_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pack(tmp_path_factory.mktemp("archive"), {"train": member(ROWS_A_CLASS, 0), "test": member(2, 1 << 20)})


@pytest.fixture(scope="module")
def sha256(small_archive: Path) -> str:
    return hashlib.sha256(small_archive.read_bytes()).hexdigest()


class Mirror(BaseHTTPRequestHandler):
    """Serves one file with Range; some paths misbehave on purpose."""

    content: ClassVar[bytes] = b""
    requests: ClassVar[list[tuple[str, str | None]]] = []
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        Mirror.requests.append((self.path, wanted))
        first_time = sum(path == self.path for path, _ in Mirror.requests) == 1
        if self.path.startswith("/missing"):
            self.send_error(404)
            return
        body = b"something else" if self.path.startswith("/wrong") else self.content
        start = int(re.match(r"bytes=(\d+)-", wanted)[1]) if wanted else 0
        cut = len(body) // 2 if self.path.startswith("/cut") and first_time else len(body)
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(body) - start))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body[start:cut])
        self.close_connection = True

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def mirror(small_archive: Path) -> Iterator[str]:
    Mirror.content, Mirror.requests = small_archive.read_bytes(), []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_download_is_verified_and_kept(mirror: str, sha256: str, tmp_path: Path) -> None:
    source = archive.download(tmp_path, mirrors=[f"{mirror}/good"], sha256=sha256)
    again = archive.download(tmp_path, mirrors=["http://127.0.0.1:9/nobody"], sha256=sha256)
    assert source == again
    assert source.path.read_bytes() == Mirror.content
    assert [path.name for path in tmp_path.iterdir()] == [archive.NAME]


def test_body_cut_short_is_resumed_where_it_ended(mirror: str, sha256: str, tmp_path: Path) -> None:
    archive.download(tmp_path, mirrors=[f"{mirror}/cut"], sha256=sha256)
    assert Mirror.requests == [("/cut", None), ("/cut", f"bytes={len(Mirror.content) // 2}-")]


def test_partial_file_of_an_earlier_run_is_resumed(mirror: str, sha256: str, tmp_path: Path) -> None:
    (tmp_path / f"{archive.NAME}.part").write_bytes(Mirror.content[:1000])
    archive.download(tmp_path, mirrors=[f"{mirror}/good"], sha256=sha256)
    assert Mirror.requests == [("/good", "bytes=1000-")]


def test_broken_mirrors_are_passed_over(mirror: str, sha256: str, tmp_path: Path) -> None:
    mirrors = [f"{mirror}/missing", f"{mirror}/wrong", f"{mirror}/good"]
    assert archive.download(tmp_path, mirrors=mirrors, sha256=sha256).sha256 == sha256


def test_no_good_mirror_names_each_failure(mirror: str, sha256: str, tmp_path: Path) -> None:
    with pytest.raises(Unreachable) as caught:
        archive.download(tmp_path, mirrors=[f"{mirror}/missing", f"{mirror}/wrong"], sha256=sha256)
    assert "404" in str(caught.value)
    assert f"expected {sha256}" in str(caught.value)
    assert archive.DATA_VARIABLE in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_another_checksum_is_refused_and_the_error_says_how_to_accept_it(small_archive: Path, sha256: str) -> None:
    with pytest.raises(DataError, match=f"{archive.ACCEPT_VARIABLE}={sha256}"):
        archive.local_source(small_archive, accept=None)
    assert not archive.local_source(small_archive, accept=sha256).is_official


def test_folder_in_the_official_format_is_accepted_by_one_checksum(tmp_path: Path) -> None:
    (tmp_path / "train").write_bytes(member(1, 0))
    (tmp_path / "test").write_bytes(member(1, 9))
    with pytest.raises(DataError, match="is not the official") as caught:
        archive.local_source(tmp_path, accept=None)
    accept = re.search(rf"{archive.ACCEPT_VARIABLE}=(\w+)", str(caught.value))[1]
    assert len(archive.decode(archive.local_source(tmp_path, accept)).train.labels) == 100


def test_missing_path_and_incomplete_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        archive.local_source(tmp_path / "nowhere", accept=None)
    with pytest.raises(DataError, match="no file train and no file test"):
        archive.local_source(tmp_path, accept=None)


class _Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("exit 1",)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (pickle.dumps({b"data": _Bomb(), b"fine_labels": []}), "refuses to load posix.system"),
        (pickle.dumps({b"labels": []}), "not in the official format"),
        (pickle.dumps({b"data": np.zeros((2, 10), np.uint8), b"fine_labels": [0, 1]}, protocol=2), "expected uint8"),
        (pickle.dumps({b"data": np.zeros((1, 3072), np.uint8), b"fine_labels": [100]}, protocol=2), "outside 0..99"),
        (b"", "not in the official format"),
    ],
)
def test_accepted_archive_still_cannot_run_code_or_be_malformed(tmp_path: Path, content: bytes, reason: str) -> None:
    path = pack(tmp_path, {"train": content, "test": content})
    with pytest.raises(DataError, match=re.escape(reason)):
        archive.decode(archive.Source(path, "0" * 64))


def test_cache_is_made_once_by_two_processes_and_labels_stay_apart(
    small_archive: Path, sha256: str, tmp_path: Path
) -> None:
    environment = {**os.environ, archive.DATA_VARIABLE: str(small_archive), archive.ACCEPT_VARIABLE: sha256}
    environment["SWARM_CACHE"] = str(tmp_path)
    command = [sys.executable, "-m", "swarm.harness.prepare", "--dataset", "cifar100", "--json"]
    both = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert outputs[0] == outputs[1]
    root = tmp_path / "data" / f"cifar100-{sha256[:8]}"
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == [root.name, "cifar100.lock"]
    assert sorted(path.name for path in (root / "train").iterdir()) == [
        "images.npy",
        "labels.npy",
        "meta.json",
        "rung_images.npy",
    ]
    assert (root / "private").stat().st_mode & 0o777 == 0o700
    assert Layout(root).read(Layout(root).images("val")).shape == (5000, 3, 32, 32)
    assert Layout(root).read(Layout(root).images("train")).shape == (100, 3, 32, 32)


def test_refused_data_is_one_line_on_stderr(small_archive: Path, tmp_path: Path) -> None:
    environment = {**os.environ, archive.DATA_VARIABLE: str(small_archive), "SWARM_CACHE": str(tmp_path)}
    environment.pop(archive.ACCEPT_VARIABLE, None)
    ended = subprocess.run(
        [sys.executable, "-m", "swarm.harness.prepare"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.startswith("error: ") and "Traceback" not in ended.stderr


def test_interrupted_build_is_not_mistaken_for_a_cache(
    small_archive: Path, sha256: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(archive.DATA_VARIABLE, str(small_archive))
    monkeypatch.setenv(archive.ACCEPT_VARIABLE, sha256)
    remains = tmp_path / "data" / f"cifar100-{sha256[:8]}.building" / "train"
    remains.mkdir(parents=True)
    (remains / "meta.json").write_text("{}")
    prepared = prepare.prepare("cifar100", tmp_path)
    assert prepared.layout.version() == prepared.version
    assert not remains.parent.exists()
