"""Pushing to the hub: its own client against a server that records what it is sent."""

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from beam_sdg.report import gather, write_report
from transforms.records import Reject

ROOT = Path(__file__).parents[2]
TOKEN = "hf_very_secret"
REJECT = Reject("solution", "truncated_answer", "cut off", "1", "{}", "x")


class Hub(ThreadingHTTPServer):
    """As much of the hub as a push meets: repositories, and commits of small files.

    `refusal` is an HTTP status that creating a repository answers with instead. `files` and
    `deleted` are what was committed; `seen`, every request's token.
    """

    def __init__(self, refusal: int = 0, existing: tuple[str, ...] = ()) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.refusal = refusal
        self.existing = existing
        self.created: list[dict] = []
        self.files: dict[str, bytes] = {}
        self.deleted: list[str] = []
        self.commits = 0
        self.tokens: set[str | None] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        self.server.tokens.add(self.headers.get("authorization"))
        if self.server.refusal:
            self._answer({"error": "not here"}, 404)
        elif "/tree/" in self.path:
            files = [{"type": "file", "path": path, "size": 1, "oid": "0" * 40} for path in
                     self.server.existing]  # fmt: skip
            self._answer(files)
        else:
            siblings = [{"rfilename": path} for path in self.server.existing]
            self._answer({"id": "org/name", "sha": "0" * 40, "siblings": siblings})

    def do_POST(self) -> None:
        self.server.tokens.add(self.headers.get("authorization"))
        body = self._body()
        if self.path == "/api/repos/create":
            self._create(json.loads(body))
        elif "/preupload/" in self.path:
            paths = [file["path"] for file in json.loads(body)["files"]]
            files = [{"path": p, "uploadMode": "regular", "shouldIgnore": False} for p in paths]
            self._answer({"files": files})
        elif "/commit/" in self.path:
            self._commit(body)
        else:
            self._answer({"errors": [], "warnings": []})

    def _create(self, wanted: dict) -> None:
        if self.server.refusal:
            self._answer({"error": "not for you"}, self.server.refusal)
        else:
            self.server.created.append(wanted)
            self._answer({"url": f"{self.server.url}/datasets/org/name", "name": "org/name"})

    def _commit(self, body: bytes) -> None:
        self.server.commits += 1
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                assert value["encoding"] == "base64"
                self.server.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "deletedFile":
                self.server.deleted.append(value["path"])
        commit = {
            "commitUrl": f"{self.server.url}/datasets/org/name/commit/1",
            "commitOid": "1" * 40,
        }
        self._answer({**commit, "pullRequestUrl": None, "success": True})

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("content-length", 0)))
        pieces = []
        while size := int(self.rfile.readline(), 16):
            pieces.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _answer(self, content: object, status: int = 200) -> None:
        encoded = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[Callable[..., Hub]]:
    """Start recording hubs that end with the test."""
    hubs: list[Hub] = []

    def start(**settings) -> Hub:
        server = Hub(**settings)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        hubs.append(server)
        return server

    yield start
    for server in hubs:
        server.shutdown()
        server.server_close()


@pytest.fixture
def pushed(tmp_path, hub_client) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Push in a process of its own: the client reads its environment when it is imported."""

    def push(output: str, endpoint: str, repo: str = "org/name", **environment: str):
        code = (
            "import sys\nfrom beam_sdg.hub import push\nfrom transforms.errors import SdgError\n"
            "try:\n    print(push(sys.argv[1], sys.argv[2], private=True))\n"
            "except SdgError as error:\n    sys.exit(f'{type(error).__name__}: {error}')"
        )
        bare = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
        return subprocess.run(
            [sys.executable, "-c", code, output, repo],
            env={**bare, "PYTHONPATH": str(ROOT), "HF_HOME": str(tmp_path / "hf"),
                 "HF_ENDPOINT": endpoint, "HF_TOKEN": TOKEN, **environment},
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip

    return push


def assert_refused(done, kind: str, *parts: str) -> None:
    """One line of the given error, that never shows the token."""
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith(f"{kind}: "), done.stderr
    assert "Traceback" not in done.stderr
    for part in parts:
        assert part in last
    assert TOKEN not in done.stdout + done.stderr


@pytest.fixture
def finished(dataset, row) -> str:
    """A published dataset with answers and a stranger's file beside it."""
    manifest, output = dataset([row(number) for number in range(3)], [REJECT], num_shards=2)
    write_report(gather(manifest, output), output)
    for name in (".work/store/solution/00/000000.jsonl", "notes.txt"):
        (Path(output) / name).parent.mkdir(parents=True, exist_ok=True)
        (Path(output) / name).write_text("{}")
    return output


def test_a_push_sends_the_dataset_and_nothing_else(finished, hub, pushed):
    """Data, rejects, card, manifest and page, byte by byte, in one commit to a private dataset."""
    server = hub()
    done = pushed(finished, server.url)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{server.url}/datasets/org/name"
    sent = {
        *(f"data/train-0000{n}-of-00002.parquet" for n in range(2)),
        *(f"rejects/rejects-0000{n}-of-00002.parquet" for n in range(2)),
        *("README.md", "manifest.json", "report.html"),
    }
    assert server.files == {path: (Path(finished) / path).read_bytes() for path in sent}
    [created] = server.created
    assert (created["type"], created["name"]) == ("dataset", "name")
    assert created.get("private") is True or created.get("visibility") == "private"
    assert server.commits == 1
    assert f"Bearer {TOKEN}" in server.tokens
    assert TOKEN not in done.stdout + done.stderr


def test_a_push_removes_files_of_an_earlier_one(finished, hub, pushed):
    """Shards that the dataset no longer has; what others put there stays."""
    old = "data/train-00002-of-00003.parquet"
    server = hub(existing=(old, "LICENSE", "README.md"))
    assert pushed(finished, server.url).returncode == 0
    assert server.deleted == [old]


@pytest.mark.parametrize(("status", "said"), [(401, "not valid"), (403, "no right to write")])
def test_a_refusal_is_one_line(finished, hub, pushed, status, said):
    """With the hub's words, the status and what to do; nothing is sent."""
    server = hub(refusal=status)
    done = pushed(finished, server.url)
    assert_refused(done, "RunError", f"HTTP {status}", said, "push it again")
    assert not server.files


def test_without_a_token_nothing_is_sent(finished, hub, pushed):
    """The line says how to get one."""
    server = hub()
    assert_refused(pushed(finished, server.url, HF_TOKEN=""), "UsageError", "hf auth login")
    assert not server.tokens


def test_a_hub_out_of_reach_is_one_line(finished, pushed):
    """Its address is named, and that the dataset is complete."""
    done = pushed(finished, "http://127.0.0.1:9")
    assert_refused(done, "RunError", "cannot reach http://127.0.0.1:9", "is complete")
    done = pushed(finished, "http://127.0.0.1:9", HF_HUB_OFFLINE="1")
    assert_refused(done, "RunError", "cannot reach", "is complete")


def test_a_name_that_cannot_be_one_is_a_usage_error(finished, hub, pushed):
    """Before anything is sent."""
    server = hub()
    done = pushed(finished, server.url, repo="a/b/c d")
    assert_refused(done, "UsageError", "'a/b/c d' is no name of a dataset")


def test_an_unfinished_run_is_not_pushed(tmp_path, pushed):
    """Without a manifest there is no dataset."""
    done = pushed(str(tmp_path), "http://127.0.0.1:9")
    assert_refused(done, "UsageError", "holds no finished dataset")
