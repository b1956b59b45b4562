"""A server's faults cost no record: what comes out of three asks is what was planned."""

import dataclasses
import json
import urllib.request

import pytest

from benchmarks.faults import CASES, Case, accepted, planned, problems, server, stats_of
from transforms.engines.faults import Faults

SMALL = 30  # records, each asked three times


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_accepted_ids_are_the_plan_whatever_the_server_does(case, tmp_path):
    """Faults of every kind, more of them than in the benchmark, and not one false reject."""
    shares = {
        name: min(1.0, value * 8) if isinstance(value, float) and not name.endswith("_s") else value
        for name, value in case.faults.items()
    }
    case = dataclasses.replace(case, faults=shares, latency_s=0.01)
    if "tail_s" in shares:
        shares["tail_s"] = 0.5
    with server(case) as url:
        assert accepted(url, problems(SMALL), tmp_path) == planned(problems(SMALL))
        stats = stats_of(url)
    assert stats["keys"] >= 2 * SMALL
    planted = {"error", "drop", "cut", "html", "truncated", "other_shape"} & shares.keys()
    assert stats["requests"] - stats["keys"] >= len(planted)
    assert all(stats["kinds"][kind] for kind in planted)


@pytest.mark.parametrize("wording", ["openai", "pydantic"])
def test_a_server_of_another_dialect_costs_no_record(wording, tmp_path):
    """What it does not take is learned from its refusals."""
    refuses = ["response_format", "seed"]
    with server(Case("dialect", {"refuses": refuses, "wording": wording}, 0.01)) as url:
        records = problems(SMALL)
        ids = accepted(url, records, tmp_path, in_flight=4)
        assert ids == sorted(record.id for record in records)
        assert 2 <= stats_of(url)["kinds"]["dialect"] <= 8


def test_a_limit_per_minute_is_kept_by_the_setting(tmp_path):
    """With the server's own limit as setting, it never says 429."""
    with server(Case("limit", {"requests_per_minute": 3000}, 0.01)) as url:
        records = problems(SMALL)
        assert accepted(url, records, tmp_path, requests_per_minute=3000) == planned(records)
        assert "limited" not in stats_of(url)["kinds"]


def test_the_key_that_a_server_repeats_is_kept_nowhere(tmp_path, monkeypatch):
    """A 400 that repeats it: neither the answers' folder nor the rows hold it."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    with server(Case("leak", {"leak": 0.4}, 0.01)) as url:
        ids = accepted(url, problems(SMALL), tmp_path)
        assert 0 < len(ids) < SMALL
        assert stats_of(url)["kinds"]["leak"]
    kept = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert any("cannot serve Bearer [key]" in text for text in kept)
    assert not any("sk-very-secret" in text for text in kept)


def test_the_books_say_what_was_seen(stub):
    """Requests, outcomes and how much of the capacity was used."""
    url = stub({"latency_s": 0.05}, "--faults", json.dumps({"capacity": 2, "error": 1.0}))
    body = json.dumps({"messages": [], "seed": 1}).encode()
    request = urllib.request.Request(
        f"{url}/chat/completions", body, {"X-Beam-SDG-Prompt": "infinibyte/evals"}
    )
    with pytest.raises(urllib.error.HTTPError, match="500"):
        urllib.request.urlopen(request)
    stats = stats_of(url)
    assert (stats["requests"], stats["keys"], stats["kinds"]) == (1, 1, {"error": 1})
    assert (stats["in_service"], stats["most_in_service"]) == (0, 1)
    assert 0.3 < stats["capacity_used"] <= 0.5
    assert stats["last"] - stats["first"] >= 0.05


def test_faults_are_a_function_of_the_key():
    """The same requests meet the same faults, and those that pass only once."""
    faults = Faults(error=0.3, cut=0.3, slow_body=0.2)
    fates = [faults.fate(str(n), first=True) for n in range(300)]
    assert fates == [faults.fate(str(n), first=True) for n in range(300)]
    assert {*fates} == {"error", "cut", "slow_body", None}
    assert {faults.fate(str(n), first=False) for n in range(300)} == {"slow_body", None}
