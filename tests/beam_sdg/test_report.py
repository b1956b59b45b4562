"""The report: its figures against the files they are of, and the three ways they are shown."""

import io
import re
import tracemalloc
from array import array
from collections.abc import Iterator
from html.parser import HTMLParser

import numpy as np
import pytest
import rich.console
from hypothesis import given
from hypothesis import strategies as st

from beam_sdg.publish import Asked
from beam_sdg.report import gather, print_report
from beam_sdg.report.charts import bars
from beam_sdg.report.page import page
from beam_sdg.report.shown import counted, line, measured
from beam_sdg.report.spread import spread_of
from beam_sdg.report.tables import tables
from transforms.engines.engine import Attempted, Failure, Reply
from transforms.engines.store import AnswerStore
from transforms.records import Reject

HOSTILE = '</pre><script>document.title="run"</script><img src="http://e.test/x" onerror="x()">'


def reject(number: int, reason: str = "truncated_answer", stage: str = "solution") -> Reject:
    return Reject(stage, reason, f"detail {number}", f"{number}", f'{{"row":{number}}}', "a reply")


def reply(tokens_in: int, tokens_out: int, finish_reason: str = "stop") -> Reply:
    return Reply("text", "", finish_reason, tokens_in, tokens_out)


def remember(output: str, ask: str, outcomes: list, model: str = "m") -> None:
    """Put (outcome, attempts, seconds) triples into the answer store of a dataset."""
    with AnswerStore(f"{output}/.work/store", ask).window([0]) as window:
        for number, (outcome, attempts, latency_s) in enumerate(outcomes):
            facts = {"model": model, "latency_s": latency_s}
            window.append(0, f"{number:032x}", Attempted(outcome, attempts), **facts)


numbers = st.one_of(
    st.lists(st.integers(-(10**9), 10**9), min_size=1).map(lambda some: array("q", some)),
    st.lists(st.floats(-1e9, 1e9), min_size=1).map(lambda some: array("d", some)),
)


@given(numbers)
def test_quantiles_are_numbers_of_the_sample_and_every_number_is_in_a_bar_or_beyond(some):
    """Quantiles as numpy's nearest rank; bars, their edges and what is beyond add up."""
    spread = spread_of(some)
    assert spread is not None
    expected = np.quantile(np.array(some), [0, 0.05, 0.5, 0.95, 1], method="inverted_cdf")
    found = [spread.least, spread.p5, spread.median, spread.p95, spread.most]
    assert found == expected.tolist()
    assert (spread.count, spread.mean) == (len(some), pytest.approx(sum(some) / len(some)))
    drawn = spread.histogram
    assert sum(drawn.counts) + drawn.beyond == len(some)
    assert len(drawn.edges) == len(drawn.counts) + 1
    assert drawn.edges[0] == spread.least
    assert list(drawn.edges) == sorted(set(drawn.edges))
    assert drawn.beyond <= len(some) / 100


def test_of_no_numbers_nothing_is_said():
    """Rather than a mean of nothing."""
    assert spread_of(array("d")) is None


def test_columns_are_told_of_by_what_they_hold(dataset, row):
    """Few values: shares and a mean; texts: lengths; numbers: quantiles; ids and lists: nothing."""
    rows = [row(number) for number in range(60)]
    data = gather(*dataset(rows, num_shards=2)).data
    assert data.rows == 60
    values = {column.name: (dict(column.counts), column.mean) for column in data.categories}
    assert values == {
        "kind": ({"complication": 30, "obfuscation": 30}, None),
        "scores.clarity": ({1: 20, 2: 20, 3: 20}, 2.0),
    }
    [text] = data.texts
    lengths = sorted(len(made["problem"]) for made in rows)
    assert (text.name, text.lengths.count) == ("problem", 60)
    assert (text.lengths.p5, text.lengths.median) == (lengths[2], lengths[29])
    assert (text.lengths.p95, text.lengths.most) == (lengths[56], lengths[59])
    [number] = data.numbers
    assert (number.name, number.spread.most) == ("scores.length", 59 / 7)


@pytest.mark.parametrize("format", ["parquet", "jsonl"])
def test_both_formats_have_the_same_figures(dataset, row, format):
    """Whatever the files are, the rows are the same."""
    rows = [row(number) for number in range(30)]
    assert gather(*dataset(rows, format=format)).data == gather(*dataset(rows, name="b")).data


def test_duplicates_are_texts_that_differ_in_white_space_and_case_alone(dataset, row):
    """Three of a kind are two repeats; null is no text."""
    texts = ["One  thing " * 5, "one thing " * 5, "ONE\nTHING " * 5, "another thing " * 5, None]
    rejects = [reject(1, "duplicate", "problems_a"), reject(2, "near_duplicate"), reject(3)]
    figures = gather(*dataset([row(n, problem=t) for n, t in enumerate(texts)], rejects))
    [text] = figures.data.texts
    assert (text.lengths.count, text.duplicates) == (4, 2)
    assert (figures.rejected, figures.rejected_duplicates) == (3, 2)


def test_values_that_are_missing_or_not_finite_are_no_numbers(dataset, row):
    """They count neither in shares nor in means, and an all-empty column is not told of."""
    nan = {"clarity": None, "length": float("nan")}
    scores = [nan, nan, {"clarity": 3, "length": 2.0}, None]
    rows = [row(number, scores=score, kind=None) for number, score in enumerate(scores)]
    told = {column.name: column for column in gather(*dataset(rows)).data.categories}
    assert told.keys() == {"scores.clarity", "scores.length"}
    assert told["scores.clarity"].counts == {3: 1}
    assert told["scores.length"].mean == 2.0


def test_an_empty_value_has_a_name(dataset, row):
    """White space, too; in the table and in the picture."""
    figures = gather(*dataset([row(number, kind=" " * (number % 2)) for number in range(4)]))
    [values] = [table for table in tables(figures) if table.key == "values"]
    assert [one.name for one in values.rows if one.part][:2] == ["(empty)"] * 2
    assert "(empty)" in bars("kind", {"": 2, "obfuscation": 1})


def test_sources_licences_and_corrections_come_from_provenance(dataset, row):
    """Rows by source and by licence, and turns after the first by stage and model."""
    other = {"a": {"source": "x", "licence": "MIT"}, "calls": None}
    rows = [row(number) for number in range(10)] + [row(11, provenance=other)]
    data = gather(*dataset(rows)).data
    assert [(o.source, o.licence, o.rows) for o in data.origins] == [
        ("gsm8k", "MIT", 10), ("x", "MIT", 1),
    ]  # fmt: skip
    assert data.licences == {"MIT": 11}
    assert data.corrections == {("solution", "m"): 2}


def test_the_ledger_is_that_of_the_store(dataset, row):
    """Answers, failures and retries by model; prices for the model they were given for alone."""
    rows = [row(number) for number in range(10)]
    asks = {"export": Asked(model="m", engine="e", sampling={}, price_in=2.0, price_out=10.0)}
    manifest, output = dataset(rows, asks=asks)
    good = [(reply(100, 10), 1, 0.5), (reply(300, 30), 3, 1.5)]
    cut = (reply(200, 50, "length"), 1, 1.0)
    remember(output, "export", [*good, cut, (Failure("timed_out", "late"), 2, 9.0)])
    remember(output, "export", [(reply(7, 7), 1, 0.1)], model="old")
    new, old = gather(manifest, output).asked
    assert (new.stage, new.model, new.answers, new.retries) == ("export", "m", 3, 3)
    assert (new.failures, new.finish_reasons) == ({"timed_out": 1}, {"length": 1, "stop": 2})
    assert (new.total_in, new.total_out, new.failed) == (600, 90, 1)
    assert new.latency_s is not None
    assert (new.latency_s.median, new.latency_s.total) == (1.0, 3.0)
    assert new.cost == pytest.approx((600 * 2 + 90 * 10) / 1e6)
    assert (old.model, old.answers, old.cost) == ("old", 1, None)
    figures = gather(manifest, output)
    assert figures.cost_per_row == pytest.approx(figures.cost / 10)


def test_cached_and_reasoning_tokens_have_their_shares(dataset, row):
    """A line below the tokens that they are part of, where a server tells them."""
    manifest, output = dataset([row(1)])
    told = Reply("text", "why", "stop", 100, 40, cached_tokens=75, reasoning_tokens=10)
    remember(output, "export", [(told, 1, 0.5), (reply(100, 40), 1, 0.5)])
    figures = gather(manifest, output)
    assert (figures.asked[0].cached, figures.asked[0].reasoning) == (75, 10)
    text = " ".join(shown(figures, 100).split())
    assert "– cached 75 37.5%" in text
    assert "– reasoning 10 12.5%" in text


def test_lines_with_further_fields_are_read_and_damaged_ones_are_not(dataset, row, tmp_path):
    """A store may know more than the report tells of."""
    manifest, output = dataset([row(1)])
    remember(output, "export", [(reply(1, 2), 1, 0.5)])
    [segment] = tmp_path.glob("out/.work/store/export/*/*.jsonl")
    whole = segment.read_text()
    more = whole.replace('"attempts"', '"record":"r","sample":0,"turn":1,"sent":[],"attempts"')
    segment.write_text(whole + more + whole[:40])
    [asked] = gather(manifest, output).asked
    assert (asked.answers, asked.total_out) == (2, 4)


def test_without_prices_nothing_is_said_of_cost(dataset, row):
    """Rather than that it cost nothing."""
    manifest, output = dataset([row(1)])
    remember(output, "export", [(reply(1, 2), 1, 0.5)])
    figures = gather(manifest, output)
    assert (figures.cost, figures.cost_per_row) == (None, None)
    assert "cost" not in [table.key for table in tables(figures)]
    assert "$" not in shown(figures, 80)


def test_memory_does_not_grow_with_the_texts(dataset, row):
    """20 MB of texts and 20 MB of answers are gathered in less than 8 MB."""
    rows = [row(number, problem=f"{number} " * 200) for number in range(20_000)]
    manifest, output = dataset(rows)
    long = Reply("x" * 10_000, "", "stop", 1, 1)
    remember(output, "export", [(long, 1, 0.1)] * 2_000)
    del rows
    gather(manifest, output)
    tracemalloc.start()
    figures = gather(manifest, output)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (figures.data.rows, figures.asked[0].answers) == (20_000, 2_000)
    assert peak < 8 << 20


def shown(figures, width: int) -> str:
    console = rich.console.Console(file=io.StringIO(), width=width, highlight=False)
    print_report(console, figures, "out")
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.fixture
def crowded(dataset, row):
    """Figures with long names, large numbers and two models."""
    long = "a_rather_long_name_of_a_reason"
    rejects = [reject(n, long, "problem_candidates") for n in range(3)] + [reject(9, "duplicate")]
    asks = {"export": Asked(model="m", engine="e", sampling={}, price_in=2.5, price_out=1000)}
    rows = [row(number, kind="It reaches the goal best & reads well.") for number in range(40)]
    manifest, output = dataset(rows, rejects, asks=asks)
    product = {"rows_in": 10**12, "not_sampled": 10**12 - 40, "stage": "problem_candidates_of_all"}
    stages = [stage.model_copy(update=product) for stage in manifest.stages[-1:]]
    manifest = manifest.model_copy(update={"stages": [*manifest.stages, *stages]})
    many = [(reply(123_456_789, 98_765_432), 5, 3599.5), (Failure(long, ""), 1, 1.0)]
    remember(output, "export", many)
    remember(output, "export", many, model="nvidia/Llama-3_3-Nemotron-Super-49B-v1_5")
    return gather(manifest, output)


@pytest.mark.parametrize("width", [80, 100])
def test_the_terminal_shows_every_word_whole(crowded, width):
    """No line is wider than the terminal, and every cell's words are on one."""
    text = shown(crowded, width)
    lines = text.splitlines()
    assert max(len(line) for line in lines) <= width
    assert "…" not in text
    words = set(re.findall(r"[^\s./:_-]+", text))
    numbers = set(text.split())
    for table in tables(crowded):
        for row in table.rows:
            assert set(re.findall(r"[^\s./:_-]+", row.name)) <= words
            assert {number for cell in row.cells for number in cell.split()} <= numbers
        assert {word for header in table.headers for word in header.split()} <= numbers


def test_what_data_say_cannot_steer_a_terminal(dataset, row):
    """Escape sequences and markup of a value are shown, not followed."""
    text = shown(gather(*dataset([row(1, kind="\x1b[2J[red]\r\nx")])), 80)
    assert "\x1b" not in text
    assert "[red] x" in text
    assert line("a\x00\x1b b\n") == "a�� b"


def test_numbers_are_written_for_people():
    """Whole ones with commas, measurements to three digits."""
    assert [counted(n) for n in (0, 1_234, 10**12)] == ["0", "1,234", "1.00e+12"]
    assert [measured(n) for n in (0, 0.01234, 1.5, 12_345.6)] == ["0", "0.0123", "1.5", "12,346"]


class Parsed(HTMLParser):
    """The elements of a page: attributes by tag, ids, and the rows of the table in each section."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.ids: list[str] = []
        self.rows: dict[str, list[list[str]]] = {}
        self.texts: list[str] = []
        self._section = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append((tag, found))
        if name := found.get("id"):
            self.ids.append(name)
            self._section = name if tag == "h2" else self._section
        if tag == "tr":
            self.rows.setdefault(self._section, []).append([])
        if tag in ("td", "th"):
            self.rows[self._section][-1].append("")
        if tag in ("pre", "title", "dd"):
            self.texts.append("")

    def handle_data(self, data: str) -> None:
        inside = self.get_starttag_text() or ""
        if inside.startswith(("<td", "<th ")) and self.rows.get(self._section):
            self.rows[self._section][-1][-1] += data.strip()
        if inside.startswith(("<pre", "<title", "<dd")):
            self.texts[-1] += data


def loaded(parsed: Parsed) -> Iterator[str]:
    """What a page would load: anything that is not a place in itself."""
    for _, attributes in parsed.tags:
        for name in ("src", "href", "xlink:href", "srcset", "data", "action", "poster"):
            if name in attributes and not (attributes[name] or "").startswith("#"):
                yield f"{name}={attributes[name]}"


def test_rows_cannot_put_anything_into_the_page(dataset, row):
    """A script in a text, a value, a source, a reject, a setting or a column stays text."""
    origin = {"source": HOSTILE, "licence": HOSTILE}
    hostile = row(1, problem=HOSTILE * 30, kind=HOSTILE[:38], provenance={"a": origin, "calls": []})
    rejects = [Reject("solution", HOSTILE, HOSTILE, "1", HOSTILE, HOSTILE)]
    settings = {HOSTILE: HOSTILE}
    manifest, output = dataset([hostile] * 3, rejects, settings=settings, citation=HOSTILE)
    remember(output, "export", [(reply(1, 2, HOSTILE), 1, 0.5)], model=HOSTILE)
    text = page(gather(manifest, output))
    parsed = Parsed(text)
    assert not {"script", "img", "iframe", "object", "embed", "link"} & {t for t, _ in parsed.tags}
    assert not [name for _, found in parsed.tags for name in found if name.startswith("on")]
    assert list(loaded(parsed)) == []
    assert "url(http" not in text
    assert text.count("&lt;script&gt;") >= 10
    assert [tag for tag, _ in parsed.tags if tag == "style"] == ["style"]


def test_the_page_forbids_everything_but_its_own_style_and_pictures(dataset, row):
    """The policy is in the page, before anything it applies to."""
    text = page(gather(*dataset([row(1)])))
    [policy] = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules == {
        "default-src": "'none'", "style-src": "'unsafe-inline'", "img-src": "data:",
        "base-uri": "'none'", "form-action": "'none'",
    }  # fmt: skip
    assert text.index("Content-Security-Policy") < text.index("<style")


def test_the_page_is_the_same_for_the_same_figures(crowded):
    """Pictures included; and every id is there once, and every reference has its id."""
    text = page(crowded)
    assert page(crowded) == text
    parsed = Parsed(text)
    assert len(parsed.ids) == len(set(parsed.ids))
    targets = re.findall(r'href="#([^"]*)"|url\(#([^)]*)\)', text)
    assert {one or other for one, other in targets} <= set(parsed.ids)


def test_the_page_shows_every_table_and_a_picture_for_every_spread(crowded):
    """The tables of the terminal, cell by cell."""
    text = page(crowded)
    parsed = Parsed(text)
    for table in tables(crowded):
        head, *rows = parsed.rows[table.key]
        assert head == list(table.headers)
        assert rows == [[row.name, *row.cells] for row in table.rows]
    spreads = len(crowded.data.texts) + len(crowded.data.numbers) + 3 * len(crowded.asked)
    assert text.count("<svg") == 1 + len(crowded.data.categories) + spreads


def test_the_page_shows_one_reject_for_every_reason(dataset, row):
    """And of long texts as much as can be read, and how much was left out."""
    rejects = [reject(n, reason) for n, reason in enumerate(["b", "a", "b"])]
    manifest, output = dataset([row(1, problem="x" * 5_000)], rejects, num_shards=2)
    figures = gather(manifest, output)
    assert [(made["reason"], made["detail"]) for made in figures.rejects] == [
        ("a", "detail 1"), ("b", "detail 0"),
    ]  # fmt: skip
    text = page(figures)
    assert "x" * 1_500 + " … (3,500 characters more)" in text
    assert "x" * 1_501 not in text


def test_an_empty_dataset_has_a_page(dataset):
    """With its losses, and without pictures of nothing."""
    text = page(gather(*dataset([], [reject(1)])))
    assert Parsed(text).rows["funnel"][1:] == [
        ["solution", "1", "0", "1", "0"], ["truncated_answer", "", "", "1", ""],
        ["export", "0", "0", "0", "0"],
    ]  # fmt: skip


def test_letters_that_a_font_lacks_and_formulas_are_drawn_as_they_are(dataset, row):
    """No warning, and no formula that cannot be read."""
    text = page(gather(*dataset([row(1, kind="漢字 $x^2$"), row(2, kind="$\\nope{")])))
    assert "漢字 $x^2$</text>" in text
    assert "$\\nope{</text>" in text
