"""Sources: which files, which columns, and what becomes of every row."""

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from beam_sdg.sources import FORMATS, BadLine, Format, Source, problem_of, rows_of
from transforms.errors import InputError, UsageError
from transforms.records import Problem, Reject
from transforms.seeding import digest

ROWS = [{"problem": "one", "id": 1}, {"problem": "zwei ß", "id": None}]


def write(path: Path, content: bytes | str) -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def lines(rows: list[dict]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def one(row: object, **columns: str) -> Problem | Reject:
    source = Source(name="s", pattern="f", format=Format(**{"text": "problem", **columns}))
    return problem_of(source, "f.jsonl", "line 3", row, "problems_a")


@pytest.mark.parametrize("kind", ["rows.jsonl", "rows.jsonl.gz", "rows.json", "rows.parquet"])
def test_every_kind_of_file_gives_the_same_rows(tmp_path, kind):
    """JSON lines, compressed ones, a JSON array and Parquet."""
    path = tmp_path / kind
    if kind.endswith(".parquet"):
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    elif kind.endswith(".json"):
        write(path, json.dumps(ROWS))
    else:
        write(path, gzip.compress(lines(ROWS)) if kind.endswith(".gz") else lines(ROWS))
    assert [row for _, row in rows_of(str(path))] == ROWS


def test_json_lines_that_are_called_json_are_read_as_lines(tmp_path):
    """A common misnomer costs nothing."""
    path = write(tmp_path / "rows.json", lines(ROWS))
    assert [row for _, row in rows_of(path)] == ROWS


def test_a_bad_line_costs_itself_only(tmp_path):
    """Not JSON and not UTF-8: each a `BadLine` at its line, the rows around them are read."""
    content = lines(ROWS[:1]) + b"{oops\n\n\xff\xfe\n" + lines(ROWS[1:])
    found = list(rows_of(write(tmp_path / "rows.jsonl", content)))
    assert [position for position, _ in found] == ["line 1", "line 2", "line 4", "line 5"]
    assert [isinstance(row, BadLine) for _, row in found] == [False, True, True, False]


def test_a_cut_gzip_file_names_the_file(tmp_path):
    """A file that ends too early is an input error, not a traceback."""
    content = gzip.compress(lines(ROWS * 500), compresslevel=0)
    path = write(tmp_path / "rows.jsonl.gz", content[:3000])
    with pytest.raises(InputError, match="rows.jsonl.gz"):
        list(rows_of(path))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("text", "not_an_object"),
        ({"question": "x"}, "missing_text"),
        ({"problem": None}, "missing_text"),
        ({"problem": 7}, "not_text"),
        ({"problem": "  \n"}, "empty_text"),
        ({"problem": "x", "picture": "a.png"}, "needs_picture"),
        (BadLine("{oops", "not JSON: …"), "not_json"),
    ],
)
def test_a_row_that_is_no_problem_is_a_reject_that_says_where_and_why(row, reason):
    """File, row and reason in the detail; the row itself in the payload."""
    reject = one(row, picture="picture")
    assert isinstance(reject, Reject)
    assert reject.reason == reason
    assert reject.detail.startswith("f.jsonl, line 3: ")
    assert reject.row


def test_an_id_is_the_rows_own_or_the_hash_of_its_text():
    """A missing id becomes the hash of the text; other columns ride along as JSON."""
    problem = one({"problem": "x", "id": 12, "b": 1, "a": "ß"}, id="id")
    assert isinstance(problem, Problem)
    assert (problem.source_id, problem.extra) == ("12", '{"a":"ß","b":1}')
    problem = one({"problem": "x", "id": ""}, id="id")
    assert isinstance(problem, Problem)
    assert problem.source_id == digest("x")


def test_the_text_column_is_guessed_from_the_first_row(tmp_path):
    """`question` is one of the names that are looked for."""
    path = write(tmp_path / "rows.jsonl", lines([{"n": 1, "question": "why?"}]))
    assert Source.parse(path).resolve("--column_a").format.text == "question"


def test_a_missing_column_is_an_error_that_lists_the_columns(tmp_path):
    """Named by the user or not, the error says what there is and which flag to use."""
    path = write(tmp_path / "rows.jsonl", lines([{"n": 1, "body": "why?"}]))
    with pytest.raises(InputError, match=r"have body, n\); name the text column with --column_a"):
        Source.parse(path).resolve("--column_a")
    with pytest.raises(InputError, match="no column 'boby'"):
        Source.parse(path, text="boby").resolve("--column_a")


def test_patterns_that_match_nothing_useful_are_errors(tmp_path):
    """No file, a kind that cannot be read, an empty file, an unknown format."""
    with pytest.raises(InputError, match="no file matches"):
        Source.parse(f"{tmp_path}/*.jsonl").resolve("--column_a")
    with pytest.raises(InputError, match="of no kind that can be read"):
        Source.parse(write(tmp_path / "a.txt", "x")).resolve("--column_a")
    with pytest.raises(InputError, match="holds no rows"):
        Source.parse(write(tmp_path / "a.jsonl", "")).resolve("--column_a")
    with pytest.raises(UsageError, match="unknown format 'gsm9k'"):
        Source.parse("gsm9k=a.jsonl")


def test_a_glob_reads_its_files_in_order(tmp_path):
    """Files are sorted by path."""
    for name in ("b", "a"):
        write(tmp_path / f"{name}.jsonl", lines(ROWS))
    files = Source.parse(f"{tmp_path}/*.jsonl").files()
    assert [Path(file.path).name for file in files] == ["a.jsonl", "b.jsonl"]


def test_the_settings_change_with_the_content_and_not_with_place_or_time(tmp_path):
    """A file that was written to is another input; one that was moved or touched is not."""
    (tmp_path / "moved").mkdir()
    here = Source.parse(write(tmp_path / "a.jsonl", lines(ROWS))).settings()
    assert Source.parse(write(tmp_path / "moved" / "a.jsonl", lines(ROWS))).settings() == here
    assert Source.parse(write(tmp_path / "a.jsonl", lines(ROWS * 2))).settings() != here


def test_a_path_with_an_equals_sign_is_a_path(tmp_path):
    """Partitioned folders are named so."""
    (tmp_path / "date=1").mkdir()
    path = write(tmp_path / "date=1" / "a.jsonl", lines(ROWS))
    assert Source.parse(path).resolve("--column_a").pattern == path


def test_a_first_row_without_the_column_does_not_hide_it(tmp_path):
    """The column is looked for in the first rows, not in the first alone."""
    path = write(tmp_path / "a.jsonl", lines([{"other": 1}, *ROWS]))
    assert Source.parse(path).resolve("--column_a").format.text == "problem"


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("gsm8k", "gsm8k/test.jsonl"),
        ("humaneval", "humaneval/HumanEval.jsonl.gz"),
        ("scibench", "scibench/*.json"),
        ("theoremqa", "theoremqa/theoremqa_test.json"),
    ],
)
def test_the_formats_fit_the_real_files(data, name, pattern):
    """Every row of the published files is a problem, or needs a picture."""
    source = Source.parse(f"{name}={data / pattern}").resolve("--column_a")
    made = [
        problem_of(source, file.path, position, row, "s")
        for file in source.files()
        for position, row in rows_of(file.path)
    ]
    rejected = [item for item in made if isinstance(item, Reject)]
    assert len(made) - len(rejected) > 100
    assert len(rejected) == (53 if name == "theoremqa" else 0)
    if FORMATS[name].id:
        ids = [item.source_id for item in made if isinstance(item, Problem)]
        assert len(set(ids)) == len(ids)


def test_half_a_surrogate_pair_is_a_reject_in_the_text_and_mended_elsewhere():
    """No file can hold it: the text column is refused, other columns get a replacement."""
    reject = one({"problem": "a \ud800"})
    assert isinstance(reject, Reject)
    assert reject.reason == "not_text"
    reject.row.encode()
    problem = one({"problem": "a", "note": "\ud800"})
    assert isinstance(problem, Problem)
    assert problem.extra == '{"note":"\ufffd"}'
