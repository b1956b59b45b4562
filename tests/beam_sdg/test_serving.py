"""Which engine made the answers and how well it was used: in the manifest and in the report."""

import json
import os
import re
import sys
from pathlib import Path

import pytest

from beam_sdg.publish import Asked, read_manifest
from beam_sdg.report import gather
from beam_sdg.report.card import card
from beam_sdg.report.page import page
from beam_sdg.report.terminal import report_text
from beam_sdg.serving import Served, served
from transforms.engines.engine import Attempted, Reply
from transforms.engines.store import AnswerStore
from transforms.engines.usage import EngineUsage

ARGS = "--max-num-seqs 8 --key ..."


def usage(**changes) -> EngineUsage:
    known = {"engine": "vLLM", "model": "m", "version": "1", "slots": 8, "in_flight": 16}
    return EngineUsage(**{**known, **changes})


def of(**changes) -> Served:
    [one] = served([usage(**changes)])
    return one


def test_windows_weigh_by_their_time_and_rates_by_their_tokens():
    """A window that was too short for a look counts in tokens alone."""
    [one] = served(
        [
            usage(seconds=30.0, running=8.0, waiting=4.0, prefix_tokens=100, prefix_hits=0),
            usage(seconds=10.0, running=4.0, waiting=0.0, prefix_tokens=300, prefix_hits=200),
            usage(seconds=10.0, generated_tokens=500, preemptions=2, kv_cache_peak=0.5),
        ]
    )
    assert (one.seconds, one.running, one.waiting, one.utilisation) == (50.0, 7.0, 3.0, 0.875)
    assert (one.prefix_cache_hit_rate, one.tokens_per_s) == (0.5, 10.0)
    assert (one.preemptions, one.kv_cache_peak, one.draft_acceptance) == (2, 0.5, None)


def test_engines_that_differ_are_told_apart():
    """By version or flags; whatever the order of their lines."""
    usages = [usage(version="2"), usage(args="--x"), usage(), usage(version="2")]
    assert served(usages) == served(usages[::-1])
    assert [(one.version, one.args) for one in served(usages)] == [
        ("1", ""), ("1", "--x"), ("2", ""),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"running": 1.9, "in_flight": 2}, "raise --in_flight to 16"),
        ({"running": 1.9, "in_flight": 16}, ""),
        ({"running": 1.0, "in_flight": 2}, ""),
        ({"running": 7.0, "in_flight": 7}, ""),
        ({"running": None, "in_flight": 2}, ""),
        ({"running": 2.0, "waiting": 9.0, "kv_cache_peak": 0.99}, "--gpu-memory-utilization"),
        ({"running": 2.0, "waiting": 9.0, "kv_cache_peak": 0.3}, ""),
    ],
)
def test_a_mend_is_named_where_the_cause_is_known(changes, said):
    """An engine may be idle for reasons that no flag mends: of these nothing is said."""
    hint = of(**{"seconds": 1.0, "waiting": 0.0, **changes}).hint()
    assert (said in hint) if said else hint == ""


def with_engine(dataset, row, **changes):
    fields = {"args": ARGS, "seconds": 60.0, "running": 1.8, "waiting": 0.0, "in_flight": 2}
    engine = of(**{**fields, "prefix_tokens": 1000, "prefix_hits": 625, **changes})
    asked = Asked(model="Qwen/Q", engine="e", sampling={}, revision="abc", served=(engine,))
    settings = {"prompt": "p", "prompt_hash": "beef", "sampling": {}}
    manifest, output = dataset([row(1)], asks={"export": asked, "solution": asked})
    stages = [stage.model_copy(update={"settings": settings}) for stage in manifest.stages]
    return manifest.model_copy(update={"stages": stages}), output


def test_every_report_names_the_engine_once_and_its_figures_by_stage(dataset, row):
    """The card names the revision only: its figures depend on the clock."""
    figures = gather(*with_engine(dataset, row))
    text = report_text(figures, "out")
    told = " ".join(text.split())
    assert told.count("vLLM 1") == 1
    for said in (
        *("export 62.5% 1.8 8 22.5%", "solution 62.5% 1.8 8 22.5%", "revision abc"),
        "export: the engine ran 1.8 of the 8 requests it has room for, since no more than 2 were",
    ):
        assert said in told
    assert max(len(line) for line in text.split("Engines")[1].splitlines()[:12]) <= 100
    shown = page(figures)
    for said in ("62.5%", ARGS, "vLLM 1", "Qwen/Q at abc", "raise --in_flight to 16"):
        assert said in shown
    assert "| export | Qwen/Q at abc | p |" in card(figures)
    assert "62.5%" not in card(figures)


def test_of_an_engine_that_told_nothing_no_figures_are_made_up(dataset, row):
    """Blank cells, and nothing to mend."""
    nothing = {"seconds": 0.0, "running": None, "waiting": None, "prefix_tokens": 0}
    figures = gather(*with_engine(dataset, row, **nothing))
    text = " ".join(report_text(figures, "out").split())
    assert "used tokens/s" in text
    assert "export 8 vLLM 1" in text
    assert "None" not in text


def test_what_servers_had_cached_is_in_the_manifest(dataset, row):
    """By the answers of the model that was asked; silence is no zero."""
    asked = {"export": Asked(model="m", engine="e", sampling={})}
    manifest, output = dataset([row(1)], asks=asked)
    replies = [Reply("t", "", "stop", 100, 1, cached_tokens=75), Reply("t", "", "stop", 100, 1)]
    for model, each in (("m", replies), ("silent", replies[1:])):
        with AnswerStore(f"{output}/.work/store", "export").window([0]) as window:
            for number, reply in enumerate(each):
                window.append(0, f"{number:032x}", Attempted(reply, 1), model=model, latency_s=1)
    assert gather(manifest, output).manifest.asks["export"].cached_share == 0.375
    silent = {"export": Asked(model="silent", engine="e", sampling={})}
    told = gather(manifest.model_copy(update={"asks": silent}), output).manifest
    assert told.asks == silent


def test_asks_of_older_manifests_are_still_read():
    """They name no revision and no engine."""
    old = '{"model": "m", "engine": "model:m", "sampling": {}, "price_in": null}'
    asked = Asked.model_validate_json(old)
    assert (asked.revision, asked.served, asked.cached_share) == ("", (), None)


PROGRAM = """#!{python}
import runpy, sys
port = sys.argv[sys.argv.index("--port") + 1]
sys.argv = ["stub", "--port", port, "--rehearsal", '{{"latency_s": 0.3}}']
runpy.run_module("transforms.engines.stub", run_name="__main__")
"""


@pytest.fixture
def vllm_stub(tmp_path: Path) -> dict[str, str]:
    """An environment whose `vllm` is the stub."""
    program = tmp_path / "bin" / "vllm"
    program.parent.mkdir()
    program.write_text(PROGRAM.format(python=sys.executable))
    program.chmod(0o755)
    return {"PATH": f"{program.parent}:{os.environ['PATH']}", "TMPDIR": str(tmp_path)}


def test_a_run_tells_which_engine_served_it_and_how_well(command_without_vllm, vllm_stub, tmp_path):
    """Through the store into the manifest and the report; a second run needs no engine for it."""
    output = tmp_path / "out"
    flags = ("--model=org/m", "--revision=v2", "--vllm_args=--max-num-seqs 4 --key s3cret")
    command = ("infinibyte", f"--output={output}", "--num_records=6", *flags)
    done = command_without_vllm(*command, **vllm_stub)
    assert done.returncode == 0, done.stderr
    manifest = read_manifest(str(output))
    assert manifest is not None
    for stage in ("problem_candidates", "evals", "solution"):
        asked = manifest.asks[stage]
        assert (asked.model, asked.revision) == ("org/m", "v2")
        [one] = asked.served
        assert (one.engine, one.version, one.slots) == ("vLLM", "0.0.0+stub", 4)
        assert one.args == "--max-num-seqs 4 --key ..."
        assert one.utilisation is not None
        assert 0.2 < one.utilisation <= 2  # eight are in flight, and the stub takes them all
        assert one.tokens_per_s is not None
        assert one.tokens_per_s > 1
        assert one.prefix_cache_hit_rate is not None
    text = (output / "report.txt").read_text()
    assert "vLLM 0.0.0+stub" in text
    assert re.search(r"evals +\S+% +[\d.]+ +4 +[\d.]+% +\d+", text)
    for path in (path for path in output.rglob("*") if path.is_file()):
        assert b"s3cret" not in path.read_bytes(), path
    again = command_without_vllm(*command, "--replace", "--format=jsonl", **vllm_stub)
    assert again.returncode == 0, again.stderr
    told = json.loads((output / "manifest.json").read_text())["asks"]["evals"]["served"]
    assert told == [manifest.asks["evals"].served[0].model_dump()]
