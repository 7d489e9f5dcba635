"""Servers with rules of their own over a study, restarts and workers included; and what is checked before the night."""

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from factories.briefings import attempt, briefing, view
from fakes.fake_clock import FakeClock
from fakes.fake_llm import Answer, FakeLLM, Raw, Request, completion, envelope

from swarm.clock import SystemClock
from swarm.errors import UsageError
from swarm.orchestrator.model_servers import check_models
from swarm.study.model_server import split_model, tidy_url
from swarm.study.settings import ProposerSettings
from workers.checking import call
from workers.proposers import ProposalFailed
from workers.proposers.openai_api import OpenAIProposer
from workers.proposers.openai_api.conversation import smallest
from workers.proposers.openai_api.rules import RuleBook, Rules

GOOD = envelope("CLASSES = 100", "CLASSES = 10", hypothesis="fewer")
MANY = briefing(tuple(attempt(f"t{n:04}", {"MAX_LR": n / 1000}, loss=2.0 + n / 100) for n in range(2, 60)))


def proposer(url: str, **options: object) -> OpenAIProposer:
    defaults = {"model": "fake", "base_url": url, "key": "sk-test-key-123456789", "clock": FakeClock()}
    return OpenAIProposer(**{**defaults, **options})  # type: ignore[arg-type]


def refusal(words: str) -> Raw:
    return Raw(json.dumps({"error": {"message": words}}), 400)


def modern(request: Request) -> Answer:
    """Takes the new name, the developer's role and no schema; one rule a refusal."""
    if "max_tokens" in request.body:
        return refusal("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
    if request.body["messages"][0]["role"] == "system":
        return refusal("messages[0].role 'system' is not supported, use the 'developer' role")
    if "response_format" in request.body:
        return refusal("response_format is not supported by this model")
    return completion(f"<think>hm</think>{GOOD}")


def old(request: Request) -> Answer:
    """Takes the old name and no other, the system's role, and only streams."""
    if "max_completion_tokens" in request.body:
        return refusal("max_completion_tokens: Extra inputs are not permitted")
    if request.body["messages"][0]["role"] != "system":
        return refusal("'developer' is not one of ['system', 'assistant', 'user']")
    if not request.body.get("stream"):
        return refusal("this model only supports streaming: set stream to true")
    said = json.dumps({"choices": [{"index": 0, "delta": {"content": GOOD}, "finish_reason": "stop"}]})
    return Raw(f"data: {said}\n\ndata: [DONE]\n\n", content_type="text/event-stream")


def test_two_servers_with_opposite_rules_both_answer_from_the_second_call_on(tmp_path: Path) -> None:
    options = {"learnt": tmp_path / "servers", "mode": "schema", "max_output_tokens": 500}
    with FakeLLM([modern]) as first, FakeLLM([old]) as second:
        for server in (first, second):
            proposer(server.url, **options).propose(briefing())
        asked = [len(server.requests) for server in (first, second)]
        for _ in range(3):  # each time as after a restart, or in another worker of the study
            for server in (first, second):
                assert proposer(server.url, **options).propose(briefing()).description == "fewer"
        assert [len(server.requests) for server in (first, second)] == [count + 3 for count in asked]
    assert max(asked) <= 4


def test_another_model_of_the_server_is_asked_as_if_it_were_new(tmp_path: Path) -> None:
    with FakeLLM([modern]) as server:
        proposer(server.url, learnt=tmp_path).propose(briefing())
        before = len(server.requests)
        proposer(server.url, learnt=tmp_path, model="another").propose(briefing())
        assert len(server.requests) == before + 2


@pytest.mark.parametrize("text", ["", "no", "[]", '{"output_tokens": "many"}', '{"path": "../../etc"}', "[" * 9999])
def test_a_file_of_rules_that_is_none_costs_the_lessons_and_nothing_else(tmp_path: Path, text: str) -> None:
    book = RuleBook(tmp_path, "http://a/v1", "m")
    book.learn({"instructions": "user"})
    (file,) = tmp_path.iterdir()
    file.write_text(text)
    assert RuleBook(tmp_path, "http://a/v1", "m").rules == Rules()
    book.learn({"takes_schema": False})
    assert RuleBook(tmp_path, "http://a/v1", "m").rules.takes_schema is False


def test_what_is_learnt_never_exceeds_what_the_person_set(tmp_path: Path) -> None:
    RuleBook(tmp_path, None, "m").learn({"output_tokens": 9000, "prompt_tokens": 9000})
    told = RuleBook(tmp_path, None, "m", Rules(prompt_tokens=4000, output_tokens=300, most_output_tokens=300)).rules
    assert (told.prompt_tokens, told.output_tokens) == (4000, 300)


def test_a_folder_that_cannot_be_written_costs_the_memory_only(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    with FakeLLM([modern]) as server:
        assert proposer(server.url, learnt=file / "servers").propose(briefing()).description == "fewer"


def test_a_server_that_read_only_a_part_of_the_prompt_is_sent_less(tmp_path: Path) -> None:
    def cuts(request: Request) -> Answer:
        read = min(600, len(request.prompt) // 4)
        return completion(GOOD, usage={"prompt_tokens": read, "completion_tokens": 50})

    with FakeLLM([cuts]) as server:
        model = proposer(server.url, learnt=tmp_path)
        lengths = []
        for _ in range(3):
            model.propose(MANY)
            lengths.append(len(server.requests[-1].prompt) // 4)
    assert lengths[0] > 1200 > lengths[1] and lengths[2] == lengths[1]
    assert abs(lengths[1] - smallest(MANY)) < 5, "not even the shortest prompt fits; it is sent all the same"


@pytest.mark.parametrize("count", [0, 1, 255])
def test_a_server_that_does_not_count_is_sent_as_much_as_ever(tmp_path: Path, count: int) -> None:
    with FakeLLM([completion(GOOD, usage={"prompt_tokens": count, "completion_tokens": 50})]) as server:
        model = proposer(server.url, learnt=tmp_path)
        for _ in range(2):
            model.propose(MANY)
        first, second = (len(request.prompt) for request in server.requests)
    assert second == first > 4 * smallest(MANY)


def test_a_program_that_grew_is_asked_about_all_the_same(tmp_path: Path) -> None:
    grown = MANY.model_copy(
        update={"incumbent": view(MANY.incumbent.source.replace("CLASSES = 100", "CLASSES = 100\n" + "# more\n" * 40))}
    )
    with FakeLLM([completion(GOOD, usage={"prompt_tokens": 600, "completion_tokens": 50})]) as server:
        model = proposer(server.url, learnt=tmp_path)
        model.propose(MANY)
        assert model.propose(grown).description == "fewer"


def test_what_a_cache_had_read_before_is_no_cut() -> None:
    usage = {"prompt_tokens": 40, "completion_tokens": 9, "prompt_tokens_details": {"cached_tokens": 6000}}
    with FakeLLM([completion(GOOD, usage=usage)]) as server:
        model = proposer(server.url)
        model.propose(MANY)
        model.propose(MANY)
    assert server.requests[0].prompt == server.requests[1].prompt


class SlowServer:
    """Thinks for `seconds`; streamed, it sends a piece every tenth of them."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.streamed: list[bool] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            received = b""
            while b"\r\n\r\n" not in received:
                received += connection.recv(65536)
            head, _, body = received.partition(b"\r\n\r\n")
            length = int(next(line for line in head.lower().split(b"\r\n") if b"content-length" in line).split(b":")[1])
            while len(body) < length:
                body += connection.recv(65536)
            streamed = bool(json.loads(body).get("stream"))
            self.streamed.append(streamed)
            with contextlib.suppress(OSError):  # the client gave up
                self._send(connection, streamed)

    def _send(self, connection: socket.socket, streamed: bool) -> None:
        if not streamed:
            time.sleep(self._seconds)
            return
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
        step = len(GOOD) // 10 + 1
        for at in range(0, len(GOOD), step):
            time.sleep(self._seconds / 10)
            delta = {"choices": [{"index": 0, "delta": {"content": GOOD[at : at + step]}}]}
            connection.sendall(f"data: {json.dumps(delta)}\n\n".encode())
        connection.sendall(b"data: [DONE]\n\n")

    def __enter__(self) -> "SlowServer":
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()


def test_a_slow_answer_that_never_came_whole_comes_in_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """On real time: sockets are watched. A whole answer takes longer than a call may, and each piece does not."""
    monkeypatch.setattr("workers.proposers.openai_api.caller.CALL_TIMEOUT_S", 0.4)
    with SlowServer(0.8) as server:
        model = proposer(server.url, clock=SystemClock(), deadline_s=1.0)
        assert model.propose(briefing()).description == "fewer"
        assert model.propose(briefing()).description == "fewer"
    assert server.streamed == [False, True, True]


def test_a_stream_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.proposers.openai_api.caller.CALL_TIMEOUT_S", 0.3)
    started = time.monotonic()
    with SlowServer(60) as server, pytest.raises(ProposalFailed, match="no complete answer within"):
        proposer(server.url, clock=SystemClock(), deadline_s=0.5).propose(briefing())
    assert time.monotonic() - started < 4


def test_a_proxy_is_not_asked_for_what_is_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with FakeLLM([GOOD]) as server:
        assert proposer(server.url).propose(briefing()).description == "fewer"


class TestBeforeTheNight:
    KEY = "sk-test-key-123456789"

    def check(self, spec: str = "openai", model: str | None = "m", base_url: str | None = None, **environ: str) -> None:
        check_models([ProposerSettings(spec=spec, model=model, base_url=base_url)], environ)

    @pytest.mark.parametrize(
        ("environ", "said"),
        [
            ({"OPENAI_BASE_URL": "localhost:8000/v1"}, "has the form http://HOST:PORT/v1"),
            ({"OPENAI_BASE_URL": "http//a/v1"}, "has the form"),
            ({"OPENAI_BASE_URL": "http:///v1"}, "has the form"),
            ({"OPENAI_BASE_URL": "http://a:99999/v1"}, "has the form"),
            ({"OPENAI_BASE_URL": "http://a b/v1"}, "a blank inside"),
            ({"OPENAI_API_KEY": "sk-one\nsk-two"}, "a line break inside"),
            ({"OPENAI_API_KEY": "sk one"}, "a blank"),
            ({"OPENAI_API_KEY": "schlüssel"}, "outside of ASCII"),
            ({"OPENAI_API_KEY": "'sk-one-two'"}, "quotes around it"),
            ({}, "there is no key"),
        ],
    )
    def test_what_could_not_work_in_the_night_is_refused(self, environ: dict[str, str], said: str) -> None:
        with pytest.raises(UsageError) as caught:
            self.check(**environ)
        assert said in str(caught.value)
        key = environ.get("OPENAI_API_KEY")
        assert key is None or key not in str(caught.value), "no key is quoted"

    @pytest.mark.parametrize(
        "environ",
        [
            {"OPENAI_API_KEY": KEY},
            {"OPENAI_API_KEY": f"{KEY}\n"},
            {"OPENAI_BASE_URL": "http://127.0.0.1:8123/v1"},
            {"OPENAI_BASE_URL": " http://[::1]:8123/v1/ "},
        ],
    )
    def test_what_works_is_not(self, environ: dict[str, str]) -> None:
        self.check(**environ)

    def test_only_a_model_that_will_be_asked_is_checked(self) -> None:
        self.check(spec="embedded", OPENAI_BASE_URL="nonsense")
        self.check(spec="auto", model=None, OPENAI_BASE_URL="nonsense")
        with pytest.raises(UsageError):
            self.check(spec="auto", OPENAI_BASE_URL="nonsense")

    @pytest.mark.parametrize(
        ("text", "meant"),
        [
            ("m", ("m", None)),
            ("claude-sonnet-4@20250514", ("claude-sonnet-4@20250514", None)),
            ("accounts/a/models/b@v2", ("accounts/a/models/b@v2", None)),
            ("m@http://a:1/v1", ("m", "http://a:1/v1")),
            ("claude@2025@https://user@host/v1", ("claude@2025", "https://user@host/v1")),
        ],
    )
    def test_a_models_name_may_have_an_at_sign(self, text: str, meant: tuple[str, str | None]) -> None:
        assert split_model(text) == meant

    @pytest.mark.parametrize("text", ["m@localhost:8000/v1", "m@127.0.0.1/v1", "m@gpu-box:8000", "m@ftp://a/v1"])
    def test_a_server_without_a_scheme_is_named(self, text: str) -> None:
        with pytest.raises(UsageError, match="without http"):
            split_model(text)

    def test_an_address_may_be_copied_whole(self) -> None:
        assert tidy_url(" https://a/v1/chat/completions ") == "https://a/v1"


class TestOneCall:
    """`swarm doctor --call`."""

    def asked(self, *script: Answer, environ: dict[str, str] | None = None) -> tuple[dict[str, str], int]:
        with FakeLLM(script) as server:
            told = environ or {"SWARM_MODEL": "m", "OPENAI_BASE_URL": server.url}
            (finding,) = call("openai", {}, told, FakeClock())
            return dict(finding), len(server.requests)

    def test_it_says_what_came(self) -> None:
        finding, requests = self.asked("ready")
        assert (finding["verdict"], requests) == ("ok", 1)
        assert "answered 'ready'" in finding["detail"] and "1000 + 200 tokens, price unknown" in finding["detail"]

    def test_and_what_the_server_wants(self) -> None:
        finding, requests = self.asked(refusal("System role not supported"), "ready")
        assert finding["verdict"] == "ok" and "it wants instructions user" in finding["detail"]
        assert requests == 2

    def test_and_what_is_wrong(self) -> None:
        finding, _ = self.asked(Raw('{"error": {"message": "Incorrect API key"}}', 401))
        assert finding["verdict"] == "fail" and finding["detail"].startswith("llm_auth: ")
        finding, requests = self.asked("x", environ={"SWARM_MODEL": "m", "OPENAI_BASE_URL": "nonsense"})
        assert (finding["verdict"], requests) == ("fail", 0)

    def test_at_the_command_line(self, tmp_path: Path) -> None:
        with FakeLLM(["ready"]) as server:
            done = subprocess.run(
                [sys.executable, "-P", "-m", "workers.checking", "call", f"openai:m@{server.url}"],
                capture_output=True, text=True, check=False, cwd=tmp_path,
            )  # fmt: skip
        assert json.loads(done.stdout)["verdict"] == "ok", done.stderr
