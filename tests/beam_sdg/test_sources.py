"""Sources: what a user names, which columns, and what becomes of every row in a pipeline."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from beam_sdg.sources import FORMATS, Format, Source
from beam_sdg.sources.lines import BadRow
from beam_sdg.sources.problems import Place, problem_of
from beam_sdg.sources.read import file_problems
from transforms.errors import InputError, UsageError, explained
from transforms.records import Problem, Reject
from transforms.seeding import digest

ROWS = [{"problem": "one", "id": 1}, {"problem": "zwei ß", "id": None}]


def write(path: Path, content: bytes | str) -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def lines(rows: list[dict]) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def one(row: object, **columns: Any) -> Problem | Reject:
    place = Place("s", "f.jsonl", "line 3, byte 7")
    return problem_of(row, Format(**{"text": "problem", **columns}), place, "problems_a")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("text", "not_an_object"),
        ({"question": "x"}, "missing_text"),
        ({"problem": None}, "missing_text"),
        ({"problem": 7}, "not_text"),
        ({"problem": "  \n"}, "empty_text"),
        ({"problem": "x", "picture": "a.png"}, "needs_picture"),
        ({"problem": " - "}, "placeholder"),
        ({"problem": "x", "answer": [1]}, "bad_answer"),
        ({"problem": "x", "answer": True}, "bad_answer"),
        ({"problem": "x", "kind": "proof"}, "excluded"),
        (BadRow("not_json", "not JSON: …", "{oops"), "not_json"),
    ],
)
def test_a_row_that_is_no_problem_is_a_reject_that_says_where_and_why(row, reason):
    """File, row and reason in the detail; the row itself in the payload."""
    columns = {"picture": "picture", "placeholder": "-", "answer": "answer"}
    reject = one(row, **columns, excluded=(("kind", "proof"),))
    assert isinstance(reject, Reject)
    assert reject.reason == reason
    assert reject.detail.startswith("f.jsonl, line 3, byte 7: ")
    assert reject.row


def test_a_reject_keeps_at_most_ten_thousand_characters_of_its_row():
    """The place says where the rest is."""
    reject = one({"text": "x" * 20_000})
    assert isinstance(reject, Reject)
    assert len(reject.row) == 10_000


@pytest.mark.parametrize(
    ("row", "columns", "expected"),
    [
        ({"answer": " 7 "}, {}, "7"),
        ({"answer": 0}, {}, "0"),
        ({"answer": 2.5}, {}, "2.5"),
        ({"answer": ""}, {}, None),
        ({"answer": None}, {}, None),
        ({}, {}, None),
        ({"answer": "so\n#### 7\n"}, {"answer_pattern": "^#### (.*)$"}, "7"),
        ({"answer": "so 7"}, {"answer_pattern": "^#### (.*)$"}, None),
    ],
)
def test_an_expected_answer_is_a_text_or_none(row, columns, expected):
    """It leaves the other columns, but where a pattern takes it from a text that says more."""
    problem = one({"problem": "x", **row}, answer="answer", **columns)
    assert isinstance(problem, Problem)
    assert problem.expected_answer == expected
    assert ("answer" in json.loads(problem.extra)) == bool(columns and row)


def test_the_problems_of_openmathreasoning_are_without_what_was_made_of_them():
    """Four columns go, `problem_type` stays, converted proofs are out."""
    made = {name: "x" for name in ("generation_model", "generated_solution", "inference_mode")}
    row = {"problem": "x", "expected_answer": "7", "used_in_kaggle": True, **made}
    place = Place("omr_cot", "f", "row 1")
    for name in ("omr_cot", "omr_additional"):
        columns = FORMATS[name]
        kept = problem_of({**row, "problem_type": "has_answer_extracted"}, columns, place, "s")
        assert isinstance(kept, Problem)
        assert (kept.expected_answer, kept.extra) == (
            "7",
            '{"problem_type":"has_answer_extracted"}',
        )
        lost = problem_of({**row, "problem_type": "converted_proof"}, columns, place, "s")
        assert isinstance(lost, Reject)
        assert lost.reason == "excluded"


def test_a_column_of_answers_that_is_not_there_is_named(tmp_path):
    """At once, with the flag that mends it."""
    path = write(tmp_path / "f.jsonl", lines(ROWS))
    with pytest.raises(InputError, match="no column 'solution', without which.*name another"):
        Source.parse(path, answer="solution", needed=("solution",)).resolve("--column")


def test_a_licence_is_the_rows_own_or_else_its_datasets():
    """OpenCodeReasoning names one in each row; what the user names comes before both."""
    columns = FORMATS["ocr"]
    place = Place("ocr", "f", "row 1")

    def licence(columns: Format, own: object) -> str:
        problem = problem_of({"input": "x", "license": own}, columns, place, "s")
        assert isinstance(problem, Problem)
        return problem.licence

    assert licence(columns, "mit") == "mit"
    assert [licence(columns, own) for own in (None, " ", 7)] == ["CC-BY-4.0"] * 3
    assert licence(Source.parse("ocr=f", licence="Apache-2.0").format, "mit") == "Apache-2.0"


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
    with pytest.raises(InputError, match="is empty"):
        Source.parse(write(tmp_path / "a.jsonl", "")).resolve("--column_a")
    with pytest.raises(
        InputError, match="no rows with columns; its first, line 1, byte 0, is not JSON: "
    ):
        Source.parse(write(tmp_path / "a.jsonl", "oops")).resolve("--column_a")
    with pytest.raises(InputError, match="cannot look for nowhere://a"):
        Source.parse("nowhere://a/b.jsonl").resolve("--column_a")
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
    made = [item for file in source.files() for item in file_problems(source, file.path, "s")]
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


@pytest.mark.parametrize("column", ["id", "license"])
def test_half_a_surrogate_pair_in_an_id_or_a_licence_is_a_reject(tmp_path, read_sources, column):
    """They are columns of what is written; the row is refused where it lies, the rest is read."""
    path = write(tmp_path / "a.jsonl", lines([*ROWS, {"problem": "x", column: "a\ud800"}]))
    source = Source.parse(path, text="problem", id="id", licence_column="license")
    problems, rejects, _ = read_sources(source)
    assert len(problems) == 2
    assert [(reject.reason, reject.detail) for reject in rejects] == [
        ("not_text", f"a.jsonl, line 3, byte 67: column '{column}' holds half of a surrogate pair")
    ]
    rejects[0].row.encode()


def test_what_is_no_number_is_null_in_the_other_columns():
    """Python writes and reads NaN and Infinity in JSON, where nothing else does."""
    row = json.loads('{"problem": "x", "a": NaN, "b": [Infinity, {"c": -Infinity}], "d": 1e999}')
    problem = one(row)
    assert isinstance(problem, Problem)
    assert problem.extra == '{"a":null,"b":[null,{"c":null}],"d":null}'
    reject = one({**row, "problem": " "})
    assert isinstance(reject, Reject)
    assert json.loads(reject.row, parse_constant=pytest.fail)["a"] is None


def test_an_empty_first_file_does_not_hide_the_columns(tmp_path):
    """The first rows of all files count."""
    write(tmp_path / "a.jsonl", "")
    write(tmp_path / "b.jsonl", lines(ROWS))
    assert Source.parse(f"{tmp_path}/*.jsonl").resolve("--column_a").format.text == "problem"


def test_a_file_is_called_by_what_its_pattern_leaves_open(tmp_path):
    """Files of one name in several folders are told apart, wherever the folders are."""
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "rows.jsonl", '{"problem": 7}\n')
    source = Source.parse(f"{tmp_path}/*/rows.jsonl", text="problem")
    rejects = [item for file in source.files() for item in file_problems(source, file.path, "s")]
    assert [reject.detail for reject in rejects if isinstance(reject, Reject)] == [
        f"{folder}/rows.jsonl, line 1, byte 0: column 'problem' is int, not text"
        for folder in ("x", "y")
    ]
    assert len({reject.id for reject in rejects}) == 2
    one = Source.parse(f"{tmp_path}/x/rows.jsonl")
    assert one.label(one.files()[0].path) == "rows.jsonl"


def test_the_licences_of_a_source_are_those_that_its_format_declares():
    """None where nobody declares any."""
    assert Source.parse("gsm8k=a.jsonl").licences == ("MIT",)
    assert Source.parse("a.jsonl").licences == ()
    assert Source.parse("a.jsonl", licence="MIT").licences == ("MIT",)


def test_every_row_of_every_file_is_a_problem_or_a_reject(tmp_path, read_sources):
    """Good rows and bad ones of all kinds, through a pipeline: read = usable + rejects."""
    write(tmp_path / "a.csv", "problem,id\none,1\ntwo\n,3\n")
    write(tmp_path / "b.jsonl.gz", gzip.compress(lines([{"problem": "one"}]) + b"{oops\n\xff\n"))
    write(tmp_path / "c.json", '[{"problem": "zwei"}, {"problem": "-"}, 7, {"problem": oops}]')
    sources = [Source.parse(f"{tmp_path}/*", text="problem", placeholder="-")]
    problems, rejects, counts = read_sources(*sources)
    assert sorted(problem.text for problem in problems) == ["one", "zwei"]
    assert sorted((reject.reason, reject.detail.split(": ")[0]) for reject in rejects) == [
        ("duplicate", "the same text as occurrence 1 of 2"),
        ("empty_text", "a.csv, line 4, byte 21"),
        ("not_an_object", "c.json, row 3, byte 40"),
        ("not_json", "b.jsonl.gz, line 2, byte 19"),
        ("not_json", "c.json, row 4, byte 43"),
        ("not_utf8", "b.jsonl.gz, line 3, byte 25"),
        ("placeholder", "c.json, row 2, byte 22"),
        ("wrong_columns", "a.csv, line 3, byte 17"),
    ]
    assert counts == {"read": 10, "usable": 2}


def test_a_damaged_file_ends_a_pipeline_with_one_line(tmp_path, read_sources):
    """What a runner makes of it still says which file."""
    cut = gzip.compress(lines(ROWS * 50))[:-9]
    write(tmp_path / "rows.jsonl.gz", cut)
    with pytest.raises(Exception) as raised:  # noqa: PT011  a runner's own type
        read_sources(Source.parse(f"{tmp_path}/*.gz", text="problem"))
    error = explained(raised.value)
    assert isinstance(error, InputError)
    assert str(error) == (
        f"cannot read {tmp_path}/rows.jsonl.gz: it was cut off: its last compressed stream has "
        "no end; fetch or make it anew, compressed as .gz says"
    )


@pytest.mark.parametrize(
    ("written", "name", "pattern"),
    [
        ("ocr", "ocr", "hf://nvidia/OpenCodeReasoning#split_0"),
        ("omr", "omr", "hf://nvidia/OpenMathReasoning:tir"),
        ("ocr=hf:///data/ocr#split_1", "ocr", "hf:///data/ocr#split_1"),
        ("omr=a.jsonl", "omr", "a.jsonl"),
        ("hf://org/name@main#config:train", "org/name", "hf://org/name@main#config:train"),
        ("hf:///data/sets:train", "sets", "hf:///data/sets:train"),
    ],
)
def test_a_source_is_a_format_at_a_place(written, name, pattern):
    """A bare format is the published dataset; a place without one is called by its own name."""
    source = Source.parse(written)
    assert (source.name, source.pattern) == (name, pattern)
    assert source.format == FORMATS.get(name, Format())


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        ("gsm8k", "write gsm8k=FILE"),
        ("hf://name", "names no dataset; write hf://ORG/NAME"),
        ("hf://org/name:", "names no dataset"),
        ("hf://./folder", "names no dataset"),
        ("omr=hf://org", "names no dataset"),
    ],
)
def test_what_names_nothing_is_a_usage_error(written, fault):
    """Before anything is looked at."""
    with pytest.raises(UsageError, match=fault):
        Source.parse(written)
