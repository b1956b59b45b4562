"""Runs on Flink: the bytes of a run in this process, whatever dies; what is missing is one line.

BEAM_SDG_PROBLEMS=200 takes so many of GSM8K's problems, and Nemotron-Math-v2 with its three efforts
and without Python.
"""

import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from beam_sdg.cli import main
from tests import planned
from tests.conftest import lacking, rehearsed_servers
from tests.flink import VERSION, Cluster, libraries

ROOT = Path(__file__).parents[2]
ON_FLINK = (
    "--runner=FlinkRunner", "--flink_version=1.19", "--parallelism=2",
    "--job_server_jvm_properties=-XX:TieredStopAtLevel=1",
)  # fmt: skip
SOLUTIONS = ("--samples=2", "--max_pass_rate=none")
IS_WHOLE = "BEAM_SDG_PROBLEMS" in os.environ
Where = Callable[[str], tuple[str, ...]]
Whole = Callable[[str], tuple[list[str], dict[str, bytes]]]


def run(*arguments: object) -> None:
    """The command line in a process of its own, which does its work."""
    done = subprocess.run(
        [sys.executable, "-m", "beam_sdg", *map(str, arguments)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture(scope="session")
def flink() -> tuple[str, ...]:
    """The flags of a run on Flink."""
    if shutil.which("java") is None:
        lacking("flink", "Java is not installed")
    jars = Path("~/.apache_beam/cache/jars").expanduser()
    if not list(jars.glob("beam-runners-flink-1.19-job-server-*.jar")):
        lacking("flink", "no job server for Flink 1.19; scripts/flink fetches it")
    return ON_FLINK


@pytest.fixture(scope="session")
def cluster(flink, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A job manager and two task managers."""
    try:
        libraries()
    except subprocess.CalledProcessError:
        lacking("flink", f"the package index does not give Flink {VERSION}")
    with Cluster.running(tmp_path_factory.mktemp("flink")) as made:
        yield made


@pytest.fixture
def where(request: pytest.FixtureRequest, flink) -> Where:
    """The flags of a place by its name."""

    def flags(place: str) -> tuple[str, ...]:
        if place == "portable":
            endpoint = f"--job_endpoint={request.getfixturevalue('job_service')}"
            return ("--runner=PortableRunner", endpoint, "--environment_type=LOOPBACK")
        on_cluster = place == "cluster"
        master = request.getfixturevalue("cluster").master if on_cluster else "[local]"
        return (*flink, f"--flink_master={master}")

    return flags


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """A recipe's flags, and the files that it makes in one process, once for each."""
    made: dict[str, tuple[list[str], dict[str, bytes]]] = {}

    def make(recipe: str, data: Path) -> tuple[list[str], dict[str, bytes]]:
        if recipe not in made:
            folder = tmp_path_factory.mktemp(recipe)
            flags = [recipe, *flags_of(recipe, data, folder / "in.jsonl")]
            run(*flags, f"--output={folder / 'out'}")
            made[recipe] = flags, planned.files_of(folder / "out")
        return made[recipe]

    return make


def flags_of(recipe: str, data: Path, problems: Path) -> list[str]:
    """Those of a run on some of GSM8K's problems."""
    count = planned.problems(6)
    if recipe == "infinibyte":
        lines = (data / "gsm8k" / "test.jsonl").read_text().splitlines()[:count]
        problems.write_text("\n".join(lines))
        return [f"--problems_a=gsm8k={problems}", f"--num_records={count}", "--num_shards=2"]
    truth = planned.generator("math/solution").truth
    spelt = planned.spelt
    given = planned.write_problems(data, problems, count, lambda text, n: spelt(truth(text), n))
    usual = ("--efforts=low", "--python_samples=1", "--sandbox=local")
    return [*given, *SOLUTIONS, *(("--python_samples=0",) if IS_WHOLE else usual), "--num_shards=2"]


@pytest.mark.parametrize("place", ["embedded", "cluster", "portable"])
@pytest.mark.parametrize("recipe", ["infinibyte", "nemotron-math-v2"])
def test_the_bytes_are_those_of_one_process(recipe, place, where, whole, data, tmp_path):
    """Rows and rejects, on any runner and any number of workers."""
    flags, files = whole(recipe, data)
    run(*flags, *where(place), f"--output={tmp_path / 'out'}")
    assert planned.files_of(tmp_path / "out") == files


def asked(log: Path, event: str = "asked") -> Counter[str]:
    """How often each request was asked or answered."""
    lines = log.read_text().splitlines() if log.exists() else []
    return Counter(key for name, key in map(str.split, lines) if name == event)


def test_a_task_manager_that_dies_costs_what_was_in_flight(flink, cluster, tmp_path, warm):
    """Flink gives its work to the other; the bytes are the same, and no answer is asked for twice.

    Until then the workers that it had go on: what they are answered counts. Each of the two windows
    is taken over at a moment of its own, which costs what is in flight then.
    """
    records, in_flight, log = 24, 4, tmp_path / "log"
    before = set(cluster.jobs())
    flags = [
        "infinibyte", f"--num_records={records}", f"--in_flight={in_flight}", "--model=m",
        "--num_shards=2",
    ]  # fmt: skip
    with rehearsed_servers(warm) as serve:
        run(*flags, f"--endpoint={serve({})}", f"--output={tmp_path / 'here'}")
        slow = serve({"latency_s": 0.7}, "--log", str(log))
        there = [*flags, *flink, f"--flink_master={cluster.master}", f"--endpoint={slow}"]
        command = [sys.executable, "-m", "beam_sdg", *there, f"--output={tmp_path / 'there'}"]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
            while asked(log, "answered").total() < records:
                assert process.poll() is None
                time.sleep(0.05)
            cluster.kill_task_manager()
            cluster.add_task_manager()
        assert process.returncode == 0
    assert planned.files_of(tmp_path / "there") == planned.files_of(tmp_path / "here")
    failures = [failure for job in {*cluster.jobs()} - before for failure in cluster.failures(job)]
    assert failures
    requests = asked(log)
    assert len(requests) == 4 * records
    assert requests.total() - len(requests) <= 2 * in_flight * len(failures)


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        (["--flink_master=localhost:1"], "http://localhost:1: no Flink answers there ([Errno"),
        (["--flink_master=gpu1:8081"], "http://gpu1:8081: workers of this process are out of its"),
        (["--jar_cache_dir={folder}"], "{folder} has no job server for Flink 2.2; run scripts/fl"),
        (["--flink_job_server_jar={folder}/it.jar"], "--flink_job_server_jar {folder}/it.jar is"),
        (
            ["--flink_job_server_jar={file}", "--job_server_java_launcher=no-java"],
            "--runner FlinkRunner needs Java, and there is no no-java here",
        ),
    ],
)  # fmt: skip
def test_what_is_missing_is_one_line(flags, part, tmp_path, capsys):
    """Before anything is asked."""
    places = {"folder": tmp_path / "jars", "file": __file__}
    given = [flag.format(**places) for flag in flags]
    output = tmp_path / "out"
    assert main(["infinibyte", "--runner=FlinkRunner", *given, f"--output={output}"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert part.format(**places) in line
    assert not (output / ".work" / "store").exists()


def test_a_job_server_for_another_version_is_named(tmp_path, capsys):
    """As one that is there."""
    (tmp_path / "beam-runners-flink-1.19-job-server-2.62.0.jar").touch()
    flags = ["--runner=FlinkRunner", f"--jar_cache_dir={tmp_path}", f"--output={tmp_path / 'out'}"]
    assert main(["infinibyte", *flags]) == 2
    assert "for Flink 2.2, but one for --flink_version=1.19; run" in capsys.readouterr().err


def test_a_cluster_of_another_version_is_refused(cluster, tmp_path, capsys):
    """Rather than told what it does not understand."""
    flags = ["--runner=FlinkRunner", f"--flink_master={cluster.master}"]
    assert main(["infinibyte", *flags, f"--output={tmp_path / 'out'}"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert f"runs Flink {VERSION}, and the job server is for 2.2; pass --flink_version=1.19" in line


def test_a_job_server_that_does_not_start_says_why(flink, tmp_path, capsys):
    """In its own last words."""
    flags = ["--runner=FlinkRunner", f"--flink_job_server_jar={__file__}"]
    assert main(["infinibyte", *flags, f"--output={tmp_path / 'out'}"]) == 4
    [line] = capsys.readouterr().err.splitlines()
    assert "does not start, and says: Error: Invalid or corrupt jarfile" in line
