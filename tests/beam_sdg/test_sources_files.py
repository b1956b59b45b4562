"""Rows of files: every kind, every compression, where a row is, and what damage costs."""

import bz2
import csv
import gzip
import io
import itertools
import json
import lzma
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from apache_beam.io.filesystem import CompressionTypes, FileMetadata, FileSystem
from hypothesis import given
from hypothesis import strategies as st

from beam_sdg.sources import Source
from beam_sdg.sources.documents import document_rows
from beam_sdg.sources.lines import BadRow, line_rows
from beam_sdg.sources.rows import rows_of
from transforms.errors import InputError

ROWS = [{"problem": "one", "id": "1"}, {"problem": 'zwei ß,\n"drei"\t', "id": ""}]
COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}
KINDS = ("jsonl", "ndjson", "json", "csv", "tsv")

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
spaces = st.text(alphabet=" \t\r\n", max_size=20)


def lines(rows: list[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def delimited(rows: list[dict[str, Any]], dialect: str) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), dialect=dialect)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def content(rows: list[dict[str, Any]], kind: str) -> bytes:
    if kind in ("jsonl", "ndjson"):
        return lines(rows)
    if kind == "json":
        return json.dumps(rows, ensure_ascii=False, indent=1).encode()
    return delimited(rows, "excel" if kind == "csv" else "excel-tab")


def written(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    return str(path)


def values(path: str) -> list[Any]:
    return [row for _, row in rows_of(path)]


def in_document(data: bytes, chunk: int = 1 << 20) -> list[tuple[str, Any]]:
    return list(document_rows(io.BufferedReader(io.BytesIO(data)), chunk))


def offset(position: str) -> int:
    return int(position.rpartition("byte ")[2])


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_gives_the_same_rows(tmp_path, kind, compression):
    """JSON lines, a JSON array, CSV and TSV, each compressed in each way or not."""
    data = COMPRESSIONS[compression](content(ROWS, kind))
    assert values(written(tmp_path / f"rows.{kind}{compression}", data)) == ROWS


def test_parquet_gives_the_same_rows_by_number(tmp_path):
    """A table's rows have no byte of their own."""
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "rows.parquet")
    found = list(rows_of(str(tmp_path / "rows.parquet")))
    assert found == [("row 1", ROWS[0]), ("row 2", ROWS[1])]


@pytest.mark.parametrize("name", ["rows.txt", "rows.parquet.gz", "rows.gz", "jsonl"])
def test_a_file_of_no_known_kind_is_an_input_error(tmp_path, name):
    """The error lists the kinds."""
    with pytest.raises(InputError, match=r"no kind that can be read: \.jsonl, "):
        Source.parse(written(tmp_path / name, b"")).files()


@pytest.mark.parametrize("compression", [name for name in COMPRESSIONS if name])
def test_a_compressed_file_cut_anywhere_is_an_input_error(tmp_path, compression):
    """Never fewer rows without a word, at whichever byte the file was cut off."""
    whole = COMPRESSIONS[compression](lines(ROWS))
    for length in range(len(whole)):
        path = written(tmp_path / f"rows.jsonl{compression}", whole[:length])
        with pytest.raises(InputError, match=f"cannot read .*rows.jsonl{compression}: "):
            values(path)


@pytest.mark.parametrize("compression", [name for name in COMPRESSIONS if name])
def test_all_streams_of_a_compressed_file_are_read(tmp_path, compression):
    """Parallel compressors write many; damage in a later one is an error too."""
    compress = COMPRESSIONS[compression]
    both = compress(lines(ROWS[:1])) + b"\0" * 4 + compress(lines(ROWS[1:]))
    assert values(written(tmp_path / f"rows.jsonl{compression}", both)) == ROWS
    damaged = compress(lines(ROWS[:1])) + b"damage" + compress(lines(ROWS[1:]))
    with pytest.raises(InputError, match="cannot read"):
        values(written(tmp_path / f"rows.jsonl{compression}", damaged))


def test_a_cut_parquet_file_is_an_input_error(tmp_path):
    """Its footer is gone."""
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "rows.parquet")
    whole = (tmp_path / "rows.parquet").read_bytes()
    with pytest.raises(InputError, match=r"cannot read .*rows\.parquet"):
        values(written(tmp_path / "rows.parquet", whole[:-3]))


@given(
    st.booleans(),
    st.lists(
        st.tuples(st.dictionaries(st.text(), json_values, max_size=3), st.integers(0, 2)),
        max_size=6,
    ),
)
def test_a_line_is_at_its_byte(marked, rows):
    """Of JSON lines with blank ones and a byte order mark, whatever is in them."""
    data = b"\xef\xbb\xbf" * marked
    for row, blank in rows:
        data += b" \r\n" * blank + json.dumps(row, ensure_ascii=False).encode() + b"\n"
    found = list(line_rows(io.BytesIO(data)))
    assert [value for _, value in found] == [row for row, _ in rows]
    for position, value in found:
        start = offset(position)
        line = data[start:].split(b"\n")[0]
        assert json.loads(line) == value
        before = data[:start].count(b"\n")
        assert position.startswith(f"line {before + 1}, ")


@given(
    st.lists(st.tuples(spaces, json_values, spaces), max_size=6),
    spaces,
    st.integers(3, 40),
    st.booleans(),
)
def test_an_element_is_at_its_byte_however_the_array_is_read(rows, before, chunk, marked):
    """Each element of a JSON array, for any layout and any size of buffer."""
    data = b"\xef\xbb\xbf" * marked + before.encode() + b"["
    starts = []
    for number, (left, value, right) in enumerate(rows):
        data += b"," * bool(number) + left.encode()
        starts.append(len(data))
        data += json.dumps(value, ensure_ascii=False).encode() + right.encode()
    found = in_document(data + b"]" + before.encode(), chunk)
    assert [value for _, value in found] == [value for _, value, _ in rows]
    assert [position for position, _ in found] == [
        f"row {number}, byte {start}" for number, start in enumerate(starts, start=1)
    ]


@given(
    st.lists(st.fixed_dictionaries({"problem": st.text(), "b": st.text(), "ß": st.text()})),
    st.sampled_from(["excel", "excel-tab"]),
)
def test_a_delimited_row_is_at_its_byte(tmp_path_factory, rows, dialect):
    """CSV and TSV, with quotes, commas and line breaks inside values."""
    columns = {"problem": "problem", "b": "b", "ß": "ß"}
    data = delimited([columns, *rows], dialect)
    data = data[data.index(b"\n") + 1 :]  # the header that was written twice
    folder = tmp_path_factory.mktemp("rows")
    path = written(folder / f"rows.{'csv' if dialect == 'excel' else 'tsv'}", data)
    found = list(rows_of(path))
    assert [row for _, row in found] == rows
    for position, row in found:
        start = offset(position)
        rest = io.StringIO(data[start:].decode(), newline="")
        assert next(csv.reader(rest, dialect)) == list(row.values())
        before = data[:start].count(b"\n")
        assert position.startswith(f"line {before + 1}, ")


def test_a_bad_line_costs_itself_only():
    """Not JSON and not UTF-8: each a `BadRow` at its byte, the rows around them are read."""
    data = [b'{"a": 1}\n', b"{oops\n", b"\n", b'{"a": "\xff"}\n', b"[" * 100_000, b'\n{"a": 2}']
    found = list(line_rows(io.BytesIO(b"".join(data))))
    assert [position for position, _ in found] == [
        "line 1, byte 0",
        "line 2, byte 9",
        "line 4, byte 16",
        "line 5, byte 27",
        "line 6, byte 100028",
    ]
    bad = [row for _, row in found if isinstance(row, BadRow)]
    assert [row.reason for row in bad] == ["not_json", "not_utf8", "not_json"]
    assert [row.raw for row in bad] == ["{oops\n", '{"a": "\ufffd"}\n', "[" * 10_000]


def test_json_lines_that_are_called_json_are_read_as_lines():
    """A common misnomer costs nothing, even where the first line is broken."""
    assert [value for _, value in in_document(lines(ROWS))] == ROWS
    found = in_document(b"{oops\n" + lines(ROWS))
    assert [position for position, _ in found] == [
        "line 1, byte 0", "line 2, byte 6", "line 3, byte 36",
    ]  # fmt: skip
    assert found[0][1].reason == "not_json"


def test_a_single_object_is_a_row():
    """However it is laid out."""
    data = b"\n" + json.dumps(ROWS[0], indent=2).encode()
    assert in_document(data) == [("row 1, byte 1", ROWS[0])]
    assert in_document(b"") == []


@pytest.mark.parametrize(
    ("data", "rows", "position", "fault"),
    [
        (b'[1, 2, {"a": oops}, 4]', [1, 2], "row 3, byte 7", "Expecting value, 6 characters on"),
        (b"[1, 2,]", [1, 2], "row 3, byte 6", "Expecting value, 0 characters on"),
        (b"[1, 2 3]", [1, 2], "row 3, byte 6", "',' or ']' is missing"),
        (b"[1, 2", [1, 2], "row 3, byte 5", "it ends without ',' or ']'"),
        (b"[1, 2,", [1, 2], "row 3, byte 6", "Expecting value, 0 characters on"),
        (b'[1, "2', [1], "row 2, byte 4", "Unterminated string starting at, 0 characters on"),
        (b"[1, 2] 3", [1, 2], "row 3, byte 7", "something follows the array"),
        (b"[", [], "row 1, byte 1", "Expecting value, 0 characters on"),
        (b"[] x", [], "row 1, byte 3", "something follows the array"),
        (b"[1, " + b"[" * 100_000, [1], "row 2, byte 4", "maximum recursion depth exceeded"),
    ],
)
@pytest.mark.parametrize("chunk", [1, 1 << 20])
def test_a_broken_array_gives_the_rows_before_the_fault_and_one_reject(
    data, rows, position, fault, chunk
):
    """The reject says where the fault is and that nothing after it is read."""
    *before, (where, last) = in_document(data, chunk)
    assert [value for _, value in before] == rows
    assert (where, last.reason) == (position, "not_json")
    assert last.fault.startswith(f"not JSON: {fault}")
    assert last.fault.endswith("; nothing after it can be read")


def test_an_element_that_is_not_utf8_costs_itself_only():
    """Later elements are read, and their bytes are counted right."""
    found = in_document(b'["\xc3\xa4", "\xe4", "\xff\xfe", "ok"]', 1)
    assert [position for position, _ in found] == [
        "row 1, byte 1", "row 2, byte 7", "row 3, byte 12", "row 4, byte 18",
    ]  # fmt: skip
    assert [getattr(row, "reason", row) for _, row in found] == ["ä", "not_utf8", "not_utf8", "ok"]


def test_an_array_is_not_held_in_memory(tmp_path):
    """Twenty megabytes of it take less than eight."""
    row = json.dumps({"problem": "why? " * 200})
    path = written(tmp_path / "rows.json", f"[{','.join([row] * 20_000)}]".encode())
    tracemalloc.start()
    try:
        assert sum(1 for _ in rows_of(path)) == 20_000
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_an_unreadable_delimited_row_costs_itself_only(tmp_path):
    """Too many or too few values, a quote that is never closed, bytes that are not UTF-8."""
    data = b'a,b\n1,2\n3\n4,5,6\n7,"never closed\n8,9\n\n\xff,1\n"x"y,1\n10,"1\n1"\n'
    found = list(rows_of(written(tmp_path / "rows.csv", data)))
    assert [(position, getattr(row, "reason", row)) for position, row in found] == [
        ("line 2, byte 4", {"a": "1", "b": "2"}),
        ("line 3, byte 8", "wrong_columns"),
        ("line 4, byte 10", "wrong_columns"),
        ("line 5, byte 16", "not_csv"),
        ("line 6, byte 32", {"a": "8", "b": "9"}),
        ("line 8, byte 37", "not_utf8"),
        ("line 9, byte 41", "not_csv"),
        ("line 10, byte 48", {"a": "10", "b": "1\n1"}),
    ]
    assert found[1][1].fault == "it has 1 values for 2 columns"
    assert found[3][1].raw == '7,"never closed\n'


@pytest.mark.parametrize(
    ("header", "fault"),
    [(b"a,b,a", "names column 'a' twice"), (b"a,\xff", "not UTF-8"), (b'"a,b', "be read as")],
)
def test_a_header_that_names_no_columns_is_an_input_error(tmp_path, header, fault):
    """Without columns no row of the file can be read."""
    with pytest.raises(InputError, match=rf"rows\.csv: its first row .*{fault}"):
        values(written(tmp_path / "rows.csv", header + b"\n1,2,3\n"))


def test_a_table_value_that_is_not_utf8_costs_its_row_only(tmp_path):
    """Parquet does not check its strings."""
    texts = pa.array([b"one", b"\xff\xfe two", b"three"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"problem": texts}), tmp_path / "rows.parquet")
    one, bad, three = values(str(tmp_path / "rows.parquet"))
    assert (one, three) == ({"problem": "one"}, {"problem": "three"})
    assert (bad.reason, bad.raw) == ("not_utf8", "\ufffd\ufffd two")


class MemoryFileSystem(FileSystem):
    """Files in this process, as `memory://…`: what Beam needs for matching and opening."""

    files: dict[str, bytes] = {}

    @classmethod
    def scheme(cls) -> str:
        return "memory"

    def _list(self, dir_or_prefix: str) -> list[FileMetadata]:
        return [
            FileMetadata(path, len(data), 7.0)
            for path, data in self.files.items()
            if path.startswith(dir_or_prefix)
        ]

    def open(
        self,
        path: str,
        mime_type: str = "application/octet-stream",
        compression_type: str = CompressionTypes.AUTO,
    ) -> io.BytesIO:
        assert compression_type == CompressionTypes.UNCOMPRESSED
        return io.BytesIO(self.files[path])

    def split(self, path: str) -> tuple[str, str]:
        head, _, tail = path.rpartition("/")
        return head, tail

    def has_dirs(self) -> bool:
        return False

    def _unused(self, *arguments: Any) -> Any:
        raise AssertionError("reading takes match, open and split, and nothing else")

    join = mkdirs = create = copy = rename = exists = _unused
    size = last_updated = checksum = metadata = delete = _unused


def test_a_glob_on_any_filesystem_that_beam_knows_is_read(tmp_path):
    """Matched, sorted, opened and decompressed there; labelled by what follows fixed folders."""
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "c.parquet")
    MemoryFileSystem.files = {
        "memory://bucket/in/y/a.jsonl.zst": COMPRESSIONS[".zst"](lines(ROWS)),
        "memory://bucket/in/x/a.jsonl.zst": COMPRESSIONS[".zst"](lines(ROWS)),
        "memory://bucket/in/x/b.txt": b"",
        "memory://bucket/c.parquet": (tmp_path / "c.parquet").read_bytes(),
    }
    source = Source.parse("memory://bucket/in/*/*.jsonl.zst").resolve("--column_a")
    paths = [file.path for file in source.files()]
    assert [source.label(path) for path in paths] == ["x/a.jsonl.zst", "y/a.jsonl.zst"]
    assert list(itertools.chain.from_iterable(map(values, paths))) == ROWS * 2
    assert values("memory://bucket/c.parquet") == ROWS
    before = source.settings()
    MemoryFileSystem.files["memory://bucket/in/x/a.jsonl.zst"] += b"\0"
    assert source.settings() != before


def test_a_file_in_another_encoding_says_where_and_how_it_is_converted(tmp_path):
    """The line, the byte where it begins, how far on the fault is, and the mend."""
    path = tmp_path / "latin.jsonl"
    path.write_bytes('\n{"problem": "wie groß ist ß?"}\n'.encode("latin1"))
    wanted = (
        r"latin.jsonl holds no rows with columns; its first, line 2, byte 1, is not UTF-8: "
        r"invalid \w+ byte, 20 bytes on; convert the file, as in iconv -f latin1 -t utf8$"
    )
    with pytest.raises(InputError, match=wanted):
        Source.parse(str(path)).resolve()
