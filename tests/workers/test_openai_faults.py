"""A server that misbehaves costs a recorded failure, never a crash, a hang or an unbounded bill."""

import contextlib
import json
import socket
import subprocess
import sys
import threading
import time
import zlib
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from factories.briefings import briefing
from factories.studies import FakeStudy
from fakes.every_exception import every_exception, raising
from fakes.fake_clock import FakeClock
from fakes.fake_llm import Drop, FakeLLM, Raw, Stall, Step, completion, envelope

from swarm.records import ProposalRejected, Usage
from swarm.study.usage import total_usage
from workers.proposers import ProposalFailed
from workers.proposers.breaker import Breaker
from workers.proposers.openai_api import OpenAIProposer
from workers.proposers.openai_api.deadline import _tls
from workers.proposers.spending import Prices, SpendLimit, Spent, spent_in

GOOD = envelope("CLASSES = 100", "CLASSES = 10")


def proposer(url: str, **options: object) -> OpenAIProposer:
    defaults = {"model": "fake", "base_url": url, "key": "sk-test-key-123456789", "clock": FakeClock()}
    return OpenAIProposer(**{**defaults, **options})  # type: ignore[arg-type]


def failure(*script: Step, **options: object) -> tuple[ProposalFailed, int]:
    """How it failed, and how many requests that took."""
    with FakeLLM(script) as server, pytest.raises(ProposalFailed) as caught:
        proposer(server.url, **options).propose(briefing())
    return caught.value, len(server.requests)


def error(status: int, message: str = "no", **headers: str) -> Raw:
    return Raw(json.dumps({"error": {"message": message}}), status, headers=headers)


@pytest.mark.parametrize(
    ("step", "reason"),
    [
        (Raw("<html><body>502 Bad Gateway</body></html>", content_type="text/html"), "body is HTML"),
        (Raw("<html>", 503, content_type="text/html"), "HTTP 503"),
        (Raw('{"error": {"message": "overloaded"}, "choices": null}'), "no choices in the answer: overloaded"),
        (Raw('{"choices": []}'), "no choices"),
        (Raw('{"choices": ["x"]}'), "no choices"),
        (Raw('[{"error": {"code": 8, "message": "exhausted"}}]'), "no object: exhausted"),
        (Raw("{}"), "no choices"),
        (Raw("null"), "no object"),
        (Raw(""), "body is empty"),
        (Raw('{"choices": [{"message": {"content": "x'), "not JSON"),
        (Raw("[" * 100_000), "not JSON"),
        (Raw('{"choices"', promised=5000), "RemoteProtocolError"),
        (Raw("x" * 5_000_000), "larger than 4194304 bytes"),
        (completion(""), "the answer is empty"),
        (completion(None), "the answer is empty"),
        (completion({"a": 1}), "the answer is empty"),
        (Drop(), "disconnected"),
        (error(500), "HTTP 500: no"),
        (error(502), "HTTP 502"),
        (error(529), "HTTP 529"),
    ],
)
def test_a_failing_server_is_tried_again_and_then_left_alone(step, reason):
    failed, requests = failure(step)
    assert reason in failed.detail
    assert failed.code in ("llm_failed", "llm_rate_limited")
    assert failed.cooldown_s > 0
    assert requests == 4


def test_an_empty_answer_is_one_of_the_answers_that_did_not_do():
    with FakeLLM([completion(""), "no edit"]) as server, pytest.raises(ProposalFailed) as caught:
        proposer(server.url).propose(briefing())
    assert "no answer of 4 could be applied; answers: (1) the answer is empty" in caught.value.detail
    assert "(4)" in caught.value.detail


def test_one_bad_answer_between_good_ones_costs_a_moment_only():
    clock = FakeClock()
    with FakeLLM([error(503), Raw("<html>"), GOOD]) as server:
        proposal = proposer(server.url, clock=clock).propose(briefing())
    assert proposal.usage is not None and proposal.usage.calls == 1
    assert 1.5 <= clock.monotonic() <= 4.0


@pytest.mark.parametrize(
    "step",
    [
        completion("", refusal="I cannot help with that"),
        completion(None, finish="content_filter"),
    ],
)
def test_a_refusal_is_no_fault_of_the_server_and_is_not_repeated(step):
    failed, requests = failure(step)
    assert (failed.code, failed.cooldown_s, requests) == ("llm_failed", 0.0, 1)
    assert failed.usage is not None and failed.usage.output_tokens == 200


def test_who_waited_for_a_whole_answer_in_vain_is_asked_for_a_stream():
    with FakeLLM([error(408)]) as server, pytest.raises(ProposalFailed) as caught:
        proposer(server.url).propose(briefing())
    assert (caught.value.code, "HTTP 408" in caught.value.detail) == ("llm_rate_limited", True)
    assert [request.body.get("stream") for request in server.requests] == [None, True, True, True, True]


class TestWaiting:
    def after(self, step: Raw) -> float:
        clock = FakeClock()
        with FakeLLM([step, GOOD]) as server:
            proposer(server.url, clock=clock).propose(briefing())
        return clock.monotonic()

    def test_a_short_retry_after_is_kept_to(self):
        assert self.after(error(429, **{"retry-after": "7"})) == 7
        assert self.after(error(503, **{"retry-after": "2.5"})) == 2.5

    def test_a_date_is_understood(self):
        date = formatdate(FakeClock().now() + 20, usegmt=True)
        assert self.after(error(429, **{"retry-after": date})) == pytest.approx(20, abs=1)

    def test_gemini_says_it_in_the_body(self):
        details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "31s"}]
        body = [{"error": {"code": 429, "message": "quota", "details": details}}]
        assert self.after(Raw(json.dumps(body), 429)) == 31

    @pytest.mark.parametrize("garbage", ["soon", "-5", "1e99", "nan", "", "Wed, 99 Foo 2026"])
    def test_garbage_means_the_usual_pause(self, garbage):
        assert 0 < self.after(error(429, **{"retry-after": garbage})) < 2

    @pytest.mark.parametrize("wait_s", [61, 3600])
    def test_a_long_one_becomes_the_workers_cool_down(self, wait_s):
        failed, requests = failure(error(429, **{"retry-after": str(wait_s)}))
        assert (failed.code, failed.cooldown_s, requests) == ("llm_rate_limited", wait_s, 1)

    def test_a_wait_beyond_the_deadline_is_not_begun(self):
        failed, requests = failure(error(429, **{"retry-after": "40"}), deadline_s=30)
        assert (failed.cooldown_s, requests) == (40, 1)


class TestRefusals:
    @pytest.mark.parametrize("status", [401, 403])
    def test_a_rejected_key_is_asked_about_once_and_again_after_a_rest(self, status):
        clock = FakeClock()
        with FakeLLM([error(status, "Incorrect API key provided: sk-test-key-123456789")]) as server:
            model = proposer(server.url, clock=clock)
            for asked, rest_s in ((1, 60), (1, 59), (2, 120), (3, 240)):
                with pytest.raises(ProposalFailed, match="Set OPENAI_API_KEY") as caught:
                    model.propose(briefing())
                assert (caught.value.code, caught.value.cooldown_s) == ("llm_auth", rest_s)
                assert "sk-test" not in caught.value.detail
                assert len(server.requests) == asked
                clock.advance(1 if (asked, rest_s) == (1, 60) else rest_s)

    @pytest.mark.parametrize("status", [401, 402, 403, 404, 405, 410, 421, 451])
    def test_one_refusal_for_a_passing_reason_costs_a_rest_that_ends(self, status):
        clock = FakeClock()
        with FakeLLM([error(status), GOOD]) as server:
            model = proposer(server.url, clock=clock)
            with pytest.raises(ProposalFailed) as caught:
                model.propose(briefing())
            assert 0 < caught.value.cooldown_s <= 1800
            clock.advance(caught.value.cooldown_s)
            assert model.propose(briefing()).proposer == "openai:fake"

    def test_an_unknown_model_too(self):
        failed, requests = failure(error(404, "The model `fake` does not exist"))
        assert (failed.code, requests, failed.cooldown_s) == ("llm_config", 1, 60)
        assert "Check the model's name, fake" in failed.detail

    def test_a_redirect_is_not_followed_with_the_key(self):
        with FakeLLM([GOOD]) as other:
            failed, _ = failure(Raw("", 307, headers={"location": f"{other.url}/chat/completions"}))
        assert failed.code == "llm_config"
        assert other.requests == []

    @pytest.mark.parametrize("step", [error(402), error(429, "You exceeded your quota: insufficient_quota")])
    def test_no_money_there_is_a_long_cool_down(self, step):
        failed, requests = failure(step)
        assert (failed.code, failed.cooldown_s, requests) == ("llm_quota", 1800, 1)

    def test_one_rejected_request_is_not_for_good(self):
        with FakeLLM([error(400, "context length exceeded"), GOOD]) as server:
            model = proposer(server.url)
            with pytest.raises(ProposalFailed, match="context length"):
                model.propose(briefing())
            model.propose(briefing())


class TestErrorsInsideSuccess:
    @pytest.mark.parametrize(
        ("error", "code", "requests"),
        [
            ({"code": 401, "message": "no"}, "llm_auth", 1),
            ({"code": "invalid_api_key", "type": "invalid_request_error"}, "llm_auth", 1),
            ({"code": "model_not_found", "type": "invalid_request_error"}, "llm_config", 1),
            ({"status": "PERMISSION_DENIED"}, "llm_auth", 1),
            ({"type": "insufficient_quota"}, "llm_quota", 1),
            ({"code": 429}, "llm_rate_limited", 4),
            ({"code": "429"}, "llm_rate_limited", 4),
            ({"status": "RESOURCE_EXHAUSTED"}, "llm_rate_limited", 4),
            ({"type": "overloaded_error"}, "llm_failed", 4),
            ({"code": "context_length_exceeded", "message": "the context length is 4096"}, "llm_failed", None),
            ({"code": 8}, "llm_failed", 4),
            ({"code": 10**400}, "llm_failed", 4),
        ],
    )
    def test_the_class_is_that_of_the_errors_own_code(self, error, code, requests):
        for body in (json.dumps({"error": error}), f"data: {json.dumps({'error': error})}\n\ndata: [DONE]\n"):
            failed, asked = failure(Raw(body))
            assert failed.code == code
            assert requests in (None, asked)

    def test_events_are_joined_although_nobody_asked_for_them(self):
        pieces = [GOOD[:40], GOOD[40:90], GOOD[90:]]
        events = [{"choices": [{"delta": {"role": "assistant"}}]}]
        events += [{"model": "fake-2", "choices": [{"delta": {"content": piece}}]} for piece in pieces]
        events += [{"choices": [{"delta": {}, "finish_reason": "stop"}]}]
        events += [{"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 5}}]
        body = ": ping\n\n" + "".join(f"event: x\ndata: {json.dumps(event)}\n\n" for event in events)
        with FakeLLM([Raw(f"{body}data: [DONE]\n\n", content_type="text/event-stream")]) as server:
            proposal = proposer(server.url).propose(briefing())
        assert "CLASSES = 10\n" in proposal.source
        assert proposal.usage is not None
        assert (proposal.usage.model, proposal.usage.input_tokens) == ("fake-2", 7)


class TestSize:
    @pytest.mark.parametrize("packing", ["gzip", "deflate", "raw deflate"])
    def test_the_cap_is_on_what_is_unpacked(self, packing):
        assert "larger than 4194304 bytes" in self.detail_of(b"\0" * 100_000_000, packing)

    @pytest.mark.parametrize("packing", ["gzip", "deflate", "raw deflate"])
    def test_what_is_packed_is_read(self, packing):
        body = completion(GOOD).body.encode()
        with PackingServer(packed(body, packing), packing.removeprefix("raw ")) as url:
            assert "CLASSES = 10\n" in proposer(url).propose(briefing()).source

    @pytest.mark.parametrize("packing", ["br", "zstd", "gzip, gzip", "x" * 300])
    def test_a_packing_that_nobody_asked_for_is_an_error_of_the_server(self, packing):
        assert "no packing was asked for" in self.detail_of(b"{}", packing)

    def test_rubbish_that_calls_itself_packed_too(self):
        with PackingServer(b"\x1f\x8b no", "gzip") as url, pytest.raises(ProposalFailed, match="error: Error -3"):
            proposer(url).propose(briefing())

    def detail_of(self, body: bytes, packing: str) -> str:
        with PackingServer(packed(body, packing), packing.removeprefix("raw ")) as url:
            with pytest.raises(ProposalFailed) as caught:
                proposer(url).propose(briefing())
            return caught.value.detail


def packed(body: bytes, packing: str) -> bytes:
    bits = {"gzip": 31, "deflate": 15, "raw deflate": -15}.get(packing)
    if bits is None:
        return body
    pack = zlib.compressobj(wbits=bits)
    return pack.compress(body) + pack.flush()


class PackingServer:
    """Answers each request with the same bytes and the same Content-Encoding."""

    def __init__(self, body: bytes, packing: str) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                self.send_response(200)
                self.send_header("content-encoding", packing)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                with contextlib.suppress(OSError):
                    self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)

    def __enter__(self) -> str:
        self._thread.start()
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class TestSurroundings:
    """What stands in the environment, and not with the server."""

    def test_a_proxy_whose_library_is_not_installed(self, monkeypatch):
        monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
        monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
        monkeypatch.setitem(sys.modules, "socksio", None)
        with pytest.raises(ProposalFailed) as caught:
            proposer("http://model.invalid/v1").propose(briefing())
        assert 0 < caught.value.cooldown_s < 3600
        assert "ImportError" in caught.value.detail or "ModuleNotFoundError" in caught.value.detail

    def test_a_certificate_file_that_is_not_there(self, monkeypatch, tmp_path):
        _tls.cache_clear()
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
        try:
            failed, requests = failure(GOOD)
        finally:
            _tls.cache_clear()
        assert requests == 0 and 0 < failed.cooldown_s < 3600
        assert "FileNotFoundError" in failed.detail

    def test_whatever_the_library_raises_is_a_failed_call_with_its_class(self, monkeypatch):
        for raised in every_exception():
            monkeypatch.setattr("workers.proposers.openai_api.deadline.Deadline.http_client", raising(raised))
            with pytest.raises(ProposalFailed) as caught:
                proposer("http://127.0.0.1:9/v1").propose(briefing())
            failed = caught.value
            assert type(raised).__name__ in failed.detail
            assert failed.code in ("llm_failed", "llm_config") and 0 < failed.cooldown_s < 3600


class TestDeadline:
    """On real time: these deadlines guard against real sockets."""

    @pytest.mark.parametrize("step", [Stall(), Stall(trickle=True)])
    def test_a_silent_or_trickling_server_is_cut_off(self, step):
        from swarm.clock import SystemClock

        started = time.monotonic()
        failed, _ = failure(step, clock=SystemClock(), deadline_s=0.3)
        assert "no complete answer within" in failed.detail
        assert time.monotonic() - started < 2

    def test_nobody_listens(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
            with pytest.raises(ProposalFailed, match="ConnectError"):
                proposer(url).propose(briefing())

    @pytest.mark.parametrize("url", ["http://", "ftp://127.0.0.1/v1", "http://[::1/v1", "no url"])
    def test_an_address_that_is_none(self, url):
        with pytest.raises(ProposalFailed):
            proposer(url).propose(briefing())


class TestBreaker:
    def test_opens_after_failures_in_a_row_and_lets_one_through_later(self):
        clock = FakeClock()
        breaker = Breaker(clock, failures=3, cooldown_s=10, max_cooldown_s=30)
        for _ in range(2):
            breaker.failed()
        breaker.succeeded()
        for expected in (0, 0, 10):
            breaker.failed()
            assert breaker.remaining_s == expected
        clock.advance(10)
        assert breaker.remaining_s == 0
        for expected in (20, 30, 30):
            breaker.failed()
            assert breaker.remaining_s == expected
            clock.advance(expected)
        breaker.succeeded()
        breaker.failed()
        assert breaker.remaining_s == 0

    def test_an_open_breaker_asks_nobody_until_its_time(self):
        clock = FakeClock()
        with FakeLLM([error(500), error(500), error(500), error(500), GOOD]) as server:
            model = proposer(server.url, clock=clock)
            with pytest.raises(ProposalFailed):
                model.propose(briefing())
            with pytest.raises(ProposalFailed, match="left alone") as caught:
                model.propose(briefing())
            assert len(server.requests) == 4
            clock.advance(caught.value.cooldown_s)
            model.propose(briefing())
        assert len(server.requests) == 5


class TestCost:
    def usd(self, usage: object, **options: object) -> float | None:
        with FakeLLM([completion(GOOD, usage=usage)]) as server:
            proposal = proposer(server.url, **options).propose(briefing())
        assert proposal.usage is not None
        return proposal.usage.usd

    COUNTS = {"prompt_tokens": 1_000_000, "completion_tokens": 100_000}  # noqa: RUF012 - read only

    def test_the_servers_own_statement_wins(self):
        assert self.usd({**self.COUNTS, "cost": 0.25}, spend_limit=SpendLimit(prices=Prices(2, 10))) == 0.25

    def test_then_the_given_prices(self):
        assert self.usd(self.COUNTS, spend_limit=SpendLimit(prices=Prices(2, 10))) == pytest.approx(3.0)

    @pytest.mark.parametrize(
        "usage", [COUNTS, None, {}, {"prompt_tokens": "many", "completion_tokens": -1, "cost": "free"}, [1]]
    )
    def test_unknown_is_none_and_never_zero(self, usage):
        assert self.usd(usage) is None

    def test_the_table_knows_common_models(self):
        pytest.importorskip("genai_prices", reason="without the extra `cost` known prices are not verified")
        known = SpendLimit().price(1000, 100, model="gpt-5-mini", base_url="https://api.openai.com/v1")
        assert known == pytest.approx(0.00045)
        assert SpendLimit().price(1000, 100, model="my-own", base_url="http://127.0.0.1:8000/v1") is None

    def test_a_sum_with_an_unknown_part_is_unknown(self):
        usages = [Usage(input_tokens=1, output_tokens=2, usd=0.1), Usage(input_tokens=1, output_tokens=None, usd=0.1)]
        summed = total_usage(usages)
        assert summed is not None
        assert (summed.input_tokens, summed.output_tokens, summed.usd, summed.calls) == (2, None, 0.2, 2)
        assert total_usage([]) is None


class TestCeilings:
    def run(self, *script: Step, times: int = 1, **options: object) -> tuple[list[str], int]:
        """Codes of the failures, and the number of requests."""
        codes = []
        with FakeLLM(script) as server:
            model = proposer(server.url, **options)
            for _ in range(times):
                try:
                    model.propose(briefing())
                except ProposalFailed as failed:
                    codes.append(failed.code)
        return codes, len(server.requests)

    def test_tokens_are_counted_before_the_call(self):
        assert self.run(GOOD, spend_limit=SpendLimit(max_tokens=1000)) == (["llm_budget"], 0)
        assert self.run(GOOD, times=9, spend_limit=SpendLimit(max_tokens=6000)) == (["llm_budget"] * 7, 2)

    def test_a_server_that_counts_nothing_does_not_lift_the_ceiling(self):
        codes, requests = self.run(completion(GOOD, usage=None), times=30, spend_limit=SpendLimit(max_tokens=9000))
        assert "llm_budget" in codes and requests < 8

    def test_uncounted_calls_of_the_records_count_as_much_as_the_next_one(self):
        spend_limit = SpendLimit(max_tokens=40_000, recorded=lambda: Spent(uncounted_calls=1))
        spend_limit.check(tokens=20_000, usd=None)
        spend_limit.record(Usage())
        with pytest.raises(ProposalFailed, match="about 40000 tokens are spent"):
            spend_limit.check(tokens=20_000, usd=None)

    def test_dollars_are_counted_before_the_call(self):
        assert self.run(GOOD, spend_limit=SpendLimit(max_usd=0.001, prices=Prices(1, 1))) == (["llm_budget"], 0)
        codes, requests = self.run(GOOD, times=9, spend_limit=SpendLimit(max_usd=0.01, prices=Prices(1, 1)))
        assert codes and requests == 9 - len(codes) and requests * 0.0012 <= 0.01

    def test_an_unknown_price_allows_one_call_to_find_out(self):
        assert self.run(GOOD, times=3, spend_limit=SpendLimit(max_usd=1)) == (["llm_budget"] * 2, 1)
        told = completion(GOOD, usage={"prompt_tokens": 1, "completion_tokens": 1, "cost": 0.3})
        assert self.run(told, times=6, spend_limit=SpendLimit(max_usd=1)) == (["llm_budget"] * 2, 4)

    def test_what_the_records_show_counts_and_not_twice(self):
        recorded = [Spent(tokens=5000)]
        spend_limit = SpendLimit(max_tokens=11_000, recorded=lambda: recorded[0])
        codes, requests = self.run(GOOD, times=3, spend_limit=spend_limit)
        assert (codes, requests) == (["llm_budget"], 2)
        recorded[0] = Spent(tokens=50_000)
        assert self.run(GOOD, spend_limit=SpendLimit(max_tokens=49_000, recorded=lambda: recorded[0])) == (
            ["llm_budget"],
            0,
        )

    def test_what_other_workers_have_recorded_meanwhile_counts(self):
        recorded = [Spent()]
        spend_limit = SpendLimit(max_tokens=50_000, recorded=lambda: recorded[0])
        spend_limit.check(tokens=5000, usd=None)
        recorded[0] = Spent(tokens=50_000)
        with pytest.raises(ProposalFailed, match="50000 tokens are spent"):
            spend_limit.check(tokens=5000, usd=None)

    def test_the_sum_is_restored_from_claims_and_rejections(self):
        fake = FakeStudy()
        fake.baseline()
        usage = Usage(input_tokens=10, output_tokens=5, usd=0.5)
        for name, spent in (("openai:m", usage), ("openai:m", usage), ("cli:codex", usage), ("openai:m", None)):
            fake.write(ProposalRejected(code="llm_failed", detail="", proposer=name, usage=spent))
        fake.write(ProposalRejected(code="no_change", detail="", proposer="cli:aider", usage=Usage(calls=2)))
        assert spent_in(fake.study) == Spent(usd=1.5, tokens=45, unpriced_calls=2, uncounted_calls=2)


def test_the_sdk_is_imported_with_the_first_call_only():
    code = "import workers.proposers.openai_api, sys; sys.exit('openai' in sys.modules or 'httpx2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
