"""The pod asks its provider to end it: over real HTTP, and never with its key where that must not go."""

from pathlib import Path

import pytest
from fakes.pod_provider import FakeProvider, fake_provider

from swarm.pods.inside.home import Home
from swarm.pods.inside.leave import NOT_RENTED, leave, main

KEY = "rpa_canary_51d0"


def asked(provider: FakeProvider, *, keep_disk: bool = False) -> int:
    environment = {"RUNPOD_API_KEY": KEY, "RUNPOD_POD_ID": "pod/1", "SWARM_RUNPOD_BASE_URL": provider.url}
    return leave(environment, keep_disk=keep_disk)


@pytest.mark.parametrize(("status", "code"), [(204, 0), (404, 0), (500, 1), (401, 1), (429, 1), (302, 1)])
def test_it_is_gone_when_the_provider_says_so(status: int, code: int) -> None:
    with fake_provider(status) as provider:
        assert asked(provider) == code
    assert provider.asked == ["DELETE /v2/pods/pod%2F1"]
    assert provider.keys == [f"Bearer {KEY}"]


def test_a_disk_that_is_to_be_kept_is_stopped_and_ended_where_it_cannot_be() -> None:
    with fake_provider(409, 204) as provider:
        assert asked(provider, keep_disk=True) == 0
    assert provider.asked == ['POST /v2/pods/pod%2F1/action {"action": "stop"}', "DELETE /v2/pods/pod%2F1"]


@pytest.mark.parametrize("status", [500, 503, 429, 408])
def test_a_disk_is_not_given_up_for_one_answer_that_says_nothing(status: int) -> None:
    with fake_provider(status, 204) as provider:
        assert [asked(provider, keep_disk=True) for _ in range(2)] == [1, 0]
    assert [line.split()[0] for line in provider.asked] == ["POST", "POST"]


@pytest.mark.parametrize(("status", "yes"), [(200, True), (500, False)])
def test_a_yes_is_written_down_at_once(status: int, yes: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider may end everything in the pod before its watchdog asks how it went."""
    with fake_provider(status) as provider:
        for name, value in (("API_KEY", KEY), ("POD_ID", "pod1")):
            monkeypatch.setenv(f"RUNPOD_{name}", value)
        monkeypatch.setenv("SWARM_RUNPOD_BASE_URL", provider.url)
        monkeypatch.setenv("SWARM_POD_HOME", str(tmp_path))
        assert main(["--keep-disk"]) == (0 if yes else 1)
    assert Home(tmp_path).left.exists() == yes


def test_its_key_is_in_nothing_that_it_says(capfd: pytest.CaptureFixture[str]) -> None:
    with fake_provider(500) as provider:
        asked(provider)
    assert asked(FakeProvider(url="http://127.0.0.1:9/v2")) == 1
    assert KEY not in "".join(capfd.readouterr())


def test_a_redirect_takes_the_key_nowhere() -> None:
    """A POST would be followed by a GET of that address, key and all."""
    with fake_provider(302) as provider:
        assert asked(provider, keep_disk=True) == 1
    assert [line.split()[0] for line in provider.asked] == ["POST", "DELETE"]


def test_an_address_without_encryption_is_not_even_asked() -> None:
    with fake_provider(host="127.0.0.2") as provider:
        assert asked(provider) == 1
    assert provider.asked == []


@pytest.mark.parametrize("url", ["http://api.example.org/v2", "ftp://127.0.0.2/v2", "file:///etc/passwd"])
def test_its_key_goes_over_https_or_stays_on_the_machine(url: str) -> None:
    assert asked(FakeProvider(url=url)) == 1


@pytest.mark.parametrize("missing", ["RUNPOD_API_KEY", "RUNPOD_POD_ID"])
def test_a_machine_of_ones_own_is_told_from_a_rented_one(missing: str) -> None:
    environment = {"RUNPOD_API_KEY": KEY, "RUNPOD_POD_ID": "pod1"} | {missing: ""}
    assert leave(environment, keep_disk=False) == NOT_RENTED
