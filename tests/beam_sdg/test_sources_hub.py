"""Datasets of the Hugging Face hub: what they name, what is read of them, and what goes wrong.

The library is the real one. It reads local folders laid out as on the hub, and, in a process of
its own, a server that answers as the hub does.
"""

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_sdg.sources import FORMATS, Source
from beam_sdg.sources.hub import Dataset
from beam_sdg.sources.read import dataset_problems
from transforms.errors import InputError, UsageError
from transforms.records import Problem, Reject

pytest.importorskip("datasets")

ROOT = Path(__file__).parents[2]
CONFIGS = """---
configs:
- config_name: plain
  data_files:
  - split: tir
    path: plain/tir-*.jsonl
  - split: cot
    path: plain/cot.jsonl
- config_name: other
  data_files:
  - split: train
    path: other/*.jsonl
---
"""


def lines(path: Path, *texts: str | None, **columns: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = ({"problem": text, **columns} for text in texts)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A dataset of two configs, the first with two splits, the first of these of two files."""
    folder = tmp_path / "set"
    lines(folder / "plain" / "tir-0.jsonl", *map(str, range(40)))
    lines(folder / "plain" / "tir-1.jsonl", *map(str, range(20, 60)))
    lines(folder / "plain" / "cot.jsonl", "cot")
    lines(folder / "other" / "a.jsonl", "other")
    (folder / "README.md").write_text(CONFIGS)
    return folder


def made(
    source: Source, deduplicate: bool = True, max_records: int | None = None, seed: int = 7
) -> list[Problem | Reject]:
    assert source.dataset is not None
    return list(dataset_problems(source, source.dataset, "s", deduplicate, max_records, seed))


def texts(items: list[Problem | Reject]) -> list[str]:
    return [item.text for item in items if isinstance(item, Problem)]


@pytest.mark.parametrize(
    ("chosen", "split", "first"),
    [("#plain", "tir", "0"), ("#plain:cot", "cot", "cot"), ("#other", "train", "other")],
)
def test_a_config_and_a_split_are_chosen(folder, chosen, split, first):
    """By name, or else the first split; they are settled when the source is."""
    source = Source.parse(f"hf://{folder}{chosen}").resolve("--column_a")
    assert source.dataset is not None
    assert (source.dataset.split, source.name, source.format.text) == (split, "set", "problem")
    assert texts(made(source))[0] == first


def test_without_a_card_the_files_names_say_the_splits(tmp_path):
    """As on the hub."""
    lines(tmp_path / "train.jsonl", "one", "two")
    lines(tmp_path / "test.jsonl", "three")
    assert texts(made(Source.parse(f"hf://{tmp_path}").resolve("--column_a"))) == ["one", "two"]
    assert texts(made(Source.parse(f"hf://{tmp_path}:test").resolve("--column_a"))) == ["three"]
    assert texts(made(Source.parse(f"hf://{tmp_path}", text="problem"))) == ["one", "two"]


@pytest.mark.parametrize(
    ("chosen", "error"),
    [
        ("", r"set has several configs \(plain, other\); name one as hf://.*set#plain"),
        ("#nope", "set#nope has no config 'nope'; it has plain, other"),
        ("#plain:nope", "set#plain:nope has no split 'nope'; it has tir, cot"),
    ],
)
def test_an_unknown_config_or_split_is_an_error_that_lists_those_there_are(folder, chosen, error):
    """So that the next try can be right."""
    with pytest.raises(InputError, match=error):
        Source.parse(f"hf://{folder}{chosen}").resolve("--column_a")


def test_a_folder_that_is_missing_or_empty_is_an_input_error(tmp_path):
    """In one line."""
    for place in (tmp_path, tmp_path / "nope"):
        with pytest.raises(InputError, match=f"cannot open hf://{place}: .*; check the folder"):
            Source.parse(f"hf://{place}").resolve("--column_a")


def test_without_the_library_the_error_says_how_to_install_it(tmp_path, monkeypatch):
    """It is an extra."""
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UsageError, match=r"pip install 'beam-sdg\[datasets\]'"):
        Source.parse("ocr").resolve("--column_a")


def test_a_limit_cuts_the_stream_at_as_many_usable_distinct_rows(tmp_path):
    """Duplicates and rows that are no problem do not count, and nothing after the last is taken."""
    lines(tmp_path / "train.jsonl", "one", None, "one", "two", " ", "two", "three", "four")
    source = Source.parse(f"hf://{tmp_path}", text="problem").resolve("--column_a")
    items = made(source, max_records=3)
    assert len(set(texts(items))) == len(texts(items)) == 3
    assert isinstance(items[-1], Problem)
    positions = [f"{tmp_path.name}:train, row {number}" for number in range(1, len(items) + 1)]
    for position, item in zip(positions, items, strict=True):
        assert isinstance(item, Problem) or item.detail.startswith(f"{position}: ")
    everything = made(source, max_records=99)
    assert everything[: len(items)] == items
    reasons = Counter(item.reason for item in everything if isinstance(item, Reject))
    assert reasons == {"duplicate": 2, "missing_text": 1, "empty_text": 1}
    [first, *_] = (item for item in everything if getattr(item, "reason", "") == "duplicate")
    assert ": the same text as row " in first.detail
    assert sorted(texts(made(source, deduplicate=False, max_records=99))).count("one") == 2


def test_a_limit_leaves_the_rest_unread(tmp_path):
    """A later file may be broken: only a run that needs its rows finds out."""
    for number in range(30):
        lines(tmp_path / f"train-{number:02}.jsonl", *(f"{number} {n}" for n in range(400)))
    source = Source.parse(f"hf://{tmp_path}").resolve("--column_a")
    assert source.dataset is not None
    used = {text.split()[0] for text in texts(made(source, max_records=200))}
    assert len(used) < 30
    unused = min(set(map(str, range(30))) - used, key=int)
    (tmp_path / f"train-{int(unused):02}.jsonl").write_text("{broken\n")
    assert len(texts(made(source, max_records=200))) == 200
    with pytest.raises(InputError, match=f"cannot read hf://{tmp_path}:train: .*; check the fold"):
        made(source)


def test_the_shuffle_is_a_function_of_the_seed(folder):
    """The same seed gives the same rows in the same order, another seed others."""
    source = Source.parse(f"hf://{folder}#plain").resolve("--column_a")
    drawn = texts(made(source, max_records=20, seed=27))
    assert drawn == texts(made(source, max_records=20, seed=27))
    assert drawn != texts(made(source, max_records=20, seed=28))
    assert drawn != sorted(drawn, key=int)


def test_a_pipeline_accounts_for_every_row_that_was_read(folder, tmp_path, read_sources):
    """Files and a dataset together: read = usable + rejects, and the limit holds for both."""
    lines(tmp_path / "rows.jsonl", "0", "59", "new", None)
    sources = [
        Source.parse(f"hf://{folder}#plain").resolve("--column_a"),
        Source.parse(f"{tmp_path}/rows.jsonl").resolve("--column_a"),
    ]
    problems, rejects, counts = read_sources(*sources)
    assert sorted(problem.text for problem in problems) == sorted([*map(str, range(60)), "new"])
    reasons = Counter(reject.reason for reject in rejects)
    assert reasons == {"duplicate": 22, "missing_text": 1}
    assert counts == {"read": 84, "usable": 61}
    problems, rejects, counts = read_sources(*sources, max_records=5)
    assert len(problems) == 5
    assert counts["read"] == counts["usable"] + len(rejects)
    assert 5 <= counts["usable"] <= 8


def test_the_settings_are_the_folders_content_and_what_was_chosen_of_it(folder, tmp_path):
    """A folder that was moved is the same input; one with another byte, or another split, not."""

    def settings(place: Path, chosen: str = "#plain") -> dict[str, Any]:
        return Source.parse(f"hf://{place}{chosen}").resolve("--column_a").settings()

    here = settings(folder)
    assert settings(folder, "#plain:tir") == here
    assert settings(folder, "#plain:cot") != here
    (tmp_path / "moved").mkdir()
    moved = folder.rename(tmp_path / "moved" / "set")
    assert settings(moved) == here
    (moved / ".cache").mkdir()
    (moved / ".cache" / "seen").write_text("")
    assert settings(moved) == here
    lines(moved / "plain" / "cot.jsonl", "another")
    assert settings(moved) != here


def test_pictures_are_not_decoded(tmp_path):
    """Their bytes are enough: no imaging library is needed, and a broken one costs nothing."""
    features = {"problem": {"dtype": "string", "_type": "Value"}, "picture": {"_type": "Image"}}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    rows = [{"problem": "one", "picture": {"bytes": b"no picture", "path": None}}]
    made_of = pa.Table.from_pylist(rows).replace_schema_metadata(metadata)
    pq.write_table(made_of, tmp_path / "train.parquet")
    [problem] = made(Source.parse(f"hf://{tmp_path}").resolve("--column_a"))
    assert isinstance(problem, Problem)
    assert "no picture" in problem.extra


def test_the_published_columns_are_read_from_a_folder_laid_out_alike(tmp_path):
    """OpenCodeReasoning: texts, ids and licences of split_0, placeholders of split_1."""
    card = "".join(
        f"- config_name: {name}\n  data_files:\n  - split: {name}\n    path: {name}/train-*\n"
        for name in ("split_0", "split_1")
    )
    (tmp_path / "README.md").write_text(f"---\nconfigs:\n{card}---\n")
    for name, text in (("split_0", "Add two numbers."), ("split_1", "-")):
        path = tmp_path / name / "train-00000-of-00001.parquet"
        path.parent.mkdir()
        row = {"id": f"{name}-1", "input": text, "license": "mit", "solution": "print(1)"}
        pq.write_table(pa.Table.from_pylist([row]), path)
    chosen = str(FORMATS["ocr"].published).rpartition("#")[2]
    [problem] = made(Source.parse(f"ocr=hf://{tmp_path}#{chosen}").resolve("--column_a"))
    assert isinstance(problem, Problem)
    assert (problem.source, problem.source_id, problem.licence, problem.text) == (
        "ocr", "split_0-1", "mit", "Add two numbers.",
    )  # fmt: skip
    [reject] = made(Source.parse(f"ocr=hf://{tmp_path}#split_1").resolve("--column_a"))
    assert isinstance(reject, Reject)
    assert reject.reason == "placeholder"
    name = tmp_path.name
    assert reject.detail.startswith(f"{name}#split_1:split_1, row 1: column 'input' holds '-'")


def test_a_dataset_is_written_as_it_is_read():
    """Every part, and only those that are given."""
    for written in ("hf://a/b", "hf://a/b@v1.0#c:d", "hf:///a/b#c", "hf://a/b:d", "hf:///a@b:d"):
        assert str(Dataset.parse(written)) == written
    assert Dataset.parse("hf://a/b@refs/pr/1#c").revision == "refs/pr/1"


class Hub(http.server.ThreadingHTTPServer):
    """What the hub answers about one dataset, `org/set`, of which each commit is a folder.

    `org/closed` is unknown or private, and `org/gated` shows its card and none of its files.
    """

    def __init__(self, commits: dict[str, Path], main: str) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.commits = commits
        self.main = main
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Answer(http.server.BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = unquote(urlparse(self.path).path)
        self.server.asked.append(path)
        if path.startswith("/api/datasets/org/set"):
            self._describe(path.removeprefix("/api/datasets/org/set").strip("/"))
        elif path.startswith("/datasets/org/set/resolve/"):
            commit, _, name = path.removeprefix("/datasets/org/set/resolve/").partition("/")
            self._serve(self.server.commits[commit] / name, commit)
        elif path.startswith("/api/datasets/org/gated"):
            self._send(200, json.dumps({"id": "org/gated", "sha": "e" * 40, "gated": "auto"}))
        elif path.startswith("/datasets/org/gated/"):
            self._send(401, "{}", X_Error_Code="GatedRepo")
        else:
            self._send(401, "{}", X_Error_Code="RepoNotFound")

    do_HEAD = do_GET

    def _describe(self, asked: str) -> None:
        what, _, rest = asked.partition("/")
        commit, _, name = rest.partition("/")
        if what == "tree" and not (self.server.commits[commit] / name).is_dir():
            self._send(404, "{}", X_Error_Code="EntryNotFound")
        elif what == "tree":
            self._send(200, json.dumps(self._listing(commit, name)))
        elif commit in ("", "main", *self.server.commits):
            sha = self.server.main if commit in ("", "main") else commit
            self._send(200, json.dumps({"id": "org/set", "sha": sha, "siblings": []}))
        else:
            self._send(404, "{}", X_Error_Code="RevisionNotFound")

    def _listing(self, commit: str, name: str) -> list[dict[str, Any]]:
        root = self.server.commits[commit]
        deep = parse_qs(urlparse(self.path).query).get("recursive") == ["true"]
        found = sorted((root / name).rglob("*") if deep else (root / name).iterdir())
        return [
            {
                "path": str(path.relative_to(root)),
                "type": "directory" if path.is_dir() else "file",
                "oid": hashlib.sha1(str(path).encode()).hexdigest(),
                "size": path.stat().st_size,
            }
            for path in found
        ]

    def _serve(self, path: Path, commit: str) -> None:
        if not path.is_file():
            self._send(404, "", X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
            return
        data = path.read_bytes()
        headers = {"ETag": f'"{hashlib.sha1(data).hexdigest()}"', "X_Repo_Commit": commit}
        asked = self.headers.get("Range")
        if asked is None:
            self._send(200, data, **headers)
            return
        start, _, end = asked.removeprefix("bytes=").partition("-")
        part = data[int(start) : int(end) + 1 if end else None]
        span = f"bytes {start}-{int(start) + len(part) - 1}/{len(data)}"
        self._send(206, part, Content_Range=span, **headers)

    def _send(self, status: int, body: str | bytes, **headers: str) -> None:
        data = body.encode() if isinstance(body, str) else body
        self.send_response(status)
        for name, value in {**headers, "Content_Length": str(len(data))}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


@pytest.fixture
def hub(folder: Path, tmp_path: Path) -> Iterator[Hub]:
    """A hub whose `main` is the first of two commits."""
    lines(tmp_path / "later" / "train.jsonl", "later")
    server = Hub({"a" * 40: folder, "b" * 40: tmp_path / "later"}, "a" * 40)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


LOOK = """
import json, sys
from beam_sdg.sources import Source
from transforms.errors import SdgError

for written in sys.argv[1:]:
    try:
        source = Source.parse(written).resolve("--column_a")
        rows = list(source.dataset.rows(7))
        print(json.dumps([source.pattern, source.settings()["content"], rows[0], len(rows)]))
    except SdgError as error:
        print(json.dumps([type(error).__name__, str(error)]))
"""


@pytest.fixture
def look(tmp_path: Path) -> Callable[..., list[list[Any]]]:
    """What sources are in a process of its own, whose hub is at a URL."""

    def look(url: str, *sources: str) -> list[list[Any]]:
        environment = {name: os.environ[name] for name in os.environ if not name.startswith("HF_")}
        done = subprocess.run(
            [sys.executable, "-c", LOOK, *sources],
            env={**environment, "HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "home")},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return [json.loads(line) for line in done.stdout.splitlines()]

    return look


def test_a_dataset_of_the_hub_is_streamed_at_the_commit_that_it_has_now(hub, look):
    """The commit is part of the settings; a branch that moves is another input, a commit is not."""
    first = "hf://org/set@" + "a" * 40
    [tir, cot] = look(hub.url, "hf://org/set#plain", f"{first}#plain:cot")
    assert tir[:2] == [f"{first}#plain:tir"] * 2
    assert tir[3] == 80
    assert cot == [f"{first}#plain:cot", f"{first}#plain:cot", {"problem": "cot"}, 1]
    files = [path for path in hub.asked if path.endswith(".jsonl")]
    assert files
    assert all("/resolve/" + "a" * 40 in path for path in files)
    hub.main = "b" * 40
    [moved, branch, pinned] = look(
        hub.url, "hf://org/set", "hf://org/set@main:train", f"{first}#plain:cot"
    )
    assert moved[1:] == ["hf://org/set@" + "b" * 40 + ":train", {"problem": "later"}, 1]
    assert branch == moved
    assert pinned == cot


def test_what_the_hub_refuses_is_one_line_that_says_the_mend(hub, look):
    """A name, a revision, a config or a split that is not there; a token that is missing."""
    found = look(
        hub.url,
        *("hf://org/closed", "hf://org/gated", "hf://org/set@v9"),
        *("hf://org/set", "hf://org/set#nope", "hf://org/set#plain:nope"),
    )
    assert {kind for kind, _ in found} == {"InputError"}
    assert [message for _, message in found] == [
        "the hub has no dataset org/closed, or it is private; check the name, or set HF_TOKEN to "
        "a token that may read it",
        "hf://org/gated is gated; accept its terms at https://huggingface.co/datasets/org/gated, "
        "then set HF_TOKEN to a token of that account",
        "hf://org/set has no revision 'v9'; name a branch, a tag or a commit",
        "hf://org/set has several configs (plain, other); name one as hf://org/set#plain",
        "hf://org/set#nope has no config 'nope'; it has plain, other",
        "hf://org/set#plain:nope has no split 'nope'; it has tir, cot",
    ]


def test_without_a_network_the_error_names_the_dataset(look):
    """And comes at once, without a traceback."""
    [[kind, message]] = look("http://127.0.0.1:9", "omr")
    assert kind == "InputError"
    assert message.startswith("cannot look up hf://nvidia/OpenMathReasoning:tir: ")
    assert message.endswith("; check the name and the network")
    assert "\n" not in message
