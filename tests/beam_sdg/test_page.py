"""The page in a real browser: what it shows, what it loads, and that it is not blank."""

import collections
import json
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from beam_sdg.publish import read_manifest
from beam_sdg.report import gather, write_report
from transforms.records import Reject

Browse = Callable[..., str]
STEAL = '<script>document.title="stolen"</script><img src="http://thief.test/x.png">'


@pytest.fixture
def browse(chromium, tmp_path) -> Browse:
    """Open a file in a browser without a network; what it prints."""

    def run(page: Path, *flags: str) -> str:
        done = subprocess.run(
            [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
             "--hide-scrollbars", f"--user-data-dir={tmp_path / 'profile'}",
             "--proxy-server=http://127.0.0.1:9", "--proxy-bypass-list=<-loopback>",
             *flags, page.as_uri()],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def asked_for(log: Path) -> set[str]:
    """The URLs beyond its own file that a page asked for, by the browser's log of its network.

    What the browser wants for itself (updates, the time) has no page as its initiator.
    """
    content = json.loads(log.read_text())
    begun = content["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    jobs = [event["params"] for event in content["events"] if event["type"] == begun
            and "url" in event.get("params", {})]  # fmt: skip
    return {job["url"] for job in jobs if job.get("initiator") != "not an origin"}


class Cells(HTMLParser):
    """The rows of the table after each h2, by its id; and the key figures by name."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: dict[str, list[list[str]]] = collections.defaultdict(list)
        self.key: dict[str, str] = {}
        self.title = ""
        self._section = self._name = self._open = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open = tag
        if tag == "h2":
            self._section = dict(attrs).get("id") or ""
        if tag == "tr":
            self.rows[self._section].append([])
        if tag in ("td", "th"):
            self.rows[self._section][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open in ("td", "th"):
            self.rows[self._section][-1][-1] += data
        elif self._open == "dt":
            self._name = data
        elif self._open == "dd":
            self.key[self._name] = data
        elif self._open == "title":
            self.title = data

    def numbers(self, section: str, column: int) -> dict[str, int]:
        """The whole numbers of a column by the row's name; rows without one are left out."""
        return {
            row[0]: int(row[column].replace(",", ""))
            for row in self.rows[section][1:]
            if row[column]
        }


def rows_of(output: Path, folder: str) -> list[dict[str, Any]]:
    return [row for file in (output / folder).iterdir() for row in pq.read_table(file).to_pylist()]


def test_the_figures_that_a_browser_shows_are_those_of_the_files(
    browse, beam_sdg_command, tmp_path
):
    """Rows, rejects by reason, scores and lengths, counted here from the Parquet files."""
    output = tmp_path / "out"
    flags = ("--num_records=60", "--num_shards=2", "--rehearsal=malformed=0.1,failing=0.05")
    done = beam_sdg_command("infinibyte", f"--output={output}", *flags)
    assert done.returncode == 0, done.stderr
    shown = Cells(browse(output / "report.html", "--dump-dom"))
    rows, rejects = rows_of(output, "data"), rows_of(output, "rejects")
    assert rows and rejects
    assert (shown.key["rows"], shown.key["rejects"]) == (str(len(rows)), str(len(rejects)))
    funnel = shown.rows["funnel"]
    assert funnel[-1] == ["export", str(len(rows)), str(len(rows)), "0", "0"]
    found, stage = {}, ""
    for name, rows_in, _, rejected, _ in funnel[1:]:
        stage = name if rows_in else stage
        if not rows_in:
            found[stage, name] = int(rejected)
    assert found == collections.Counter((made["stage"], made["reason"]) for made in rejects)
    kinds = collections.Counter(row["combination_type"] for row in rows)
    assert kinds.items() <= shown.numbers("values", 1).items()
    longest = max(len(row["solution"]) for row in rows)
    assert shown.numbers("texts", 4)["solution"] == longest
    stored = [json.loads(line) for path in output.glob(".work/store/solution/*/*.jsonl")
              for line in path.read_text().splitlines()]  # fmt: skip
    tokens = sum(line["reply"]["completion_tokens"] for line in stored if "reply" in line)
    [out] = [row for number, row in enumerate(shown.rows["tokens"]) if row[1] == "tokens out"
             and shown.rows["tokens"][number - 1][0] == "solution"]  # fmt: skip
    assert out[2] == f"{tokens:,}"


def test_the_page_asks_no_network_for_anything(browse, dataset, row, tmp_path):
    """Though a row would: in a bare page, the same picture is asked for."""
    rejects = [Reject("solution", "odd", STEAL, "1", STEAL, STEAL)]
    manifest, output = dataset([row(n, problem=f"{n} {STEAL}") for n in range(3)], rejects)
    write_report(gather(manifest, output), output)
    bare = tmp_path / "bare.html"
    bare.write_text(STEAL)
    found = {}
    for page in (bare, Path(output) / "report.html"):
        log = tmp_path / f"{page.stem}.json"
        found[page.stem] = Cells(browse(page, f"--log-net-log={log}", "--dump-dom")).title
        found[page.stem, "asked"] = asked_for(log)
    assert found["bare", "asked"] == {"http://thief.test/x.png"}
    assert found["report", "asked"] == set()
    assert found["report"] == "infinibyte: report"


@pytest.mark.parametrize("width", [1200, 400])
def test_the_page_is_drawn_and_fits_its_window(browse, dataset, row, tmp_path, width):
    """On a desk and on a telephone there are letters and bars, and a white right edge."""
    manifest, output = dataset([row(number) for number in range(50)])
    write_report(gather(manifest, output), output)
    picture = tmp_path / "shot.png"
    browse(Path(output) / "report.html", f"--screenshot={picture}", f"--window-size={width},1600")
    pixels = np.asarray(Image.open(picture).convert("RGB"))
    assert pixels.shape == (1600, width, 3)
    white = (pixels == 255).all(axis=2)
    bars = (pixels == (0x48, 0x78, 0xA8)).all(axis=2)
    assert 0.3 < white.mean() < 0.98
    assert bars.sum() > 2_000
    assert white[:, -4:].all()


def test_a_run_keeps_its_page_when_it_is_read_again(beam_sdg_command, tmp_path):
    """`report` prints what the page shows and writes nothing."""
    output = tmp_path / "out"
    assert beam_sdg_command("infinibyte", f"--output={output}").returncode == 0
    before = {path: path.read_bytes() for path in output.iterdir() if path.is_file()}
    assert {path.name for path in before} == {
        "README.md", "manifest.json", "report.html", "report.txt",
    }  # fmt: skip
    assert beam_sdg_command("report", output).returncode == 0
    assert {path: path.read_bytes() for path in output.iterdir() if path.is_file()} == before
    manifest = read_manifest(str(output))
    assert manifest is not None
    assert manifest.asks["solution"].model == "rehearsal"
