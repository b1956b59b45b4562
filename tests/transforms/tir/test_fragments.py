"""Fragments: what stands around a call, which calls have none, and ids that cannot collide."""

import json

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.testing.util import assert_that
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fenced import FENCED, call, reasons, solution
from transforms.records import Fragment
from transforms.tir.fragments import ExtractFragments, fragments_of

FRAMES = 'Traceback (most recent call last):\n  File "<cell 1>", line 1\nZeroDivisionError: by 0'
UNPARSED = '  File "<cell 1>", line 1\n    print(\n         ^\nSyntaxError: never closed'
FIRST, BROKEN, LAST = call("print(1)", "1"), call("1 / 0", FRAMES), call("print(2)", "2")


def texts(text: str, window: int = 1500) -> list[str]:
    return [each.text for each in fragments_of(solution(text), FENCED, window)]


def test_a_fragment_is_a_call_with_its_result_and_its_surroundings():
    """Up to the window on either side, and never into the call before or after."""
    text = f"A long beginning.\n{FIRST}Between.\n{LAST}A long end."
    assert texts(text) == [
        f"A long beginning.\n{FIRST}Between.\n",
        f"Between.\n{LAST}A long end.",
    ]
    assert texts(text, window=4) == [f"ng.\n{FIRST}Betw", f"en.\n{LAST}A lo"]
    assert texts(text, window=0) == [FIRST, LAST]


def test_a_call_that_failed_is_no_fragment_and_still_a_neighbour():
    """Calls without a result, and with a traceback or an error of the parser, are left out."""
    text = f"a\n{FIRST}b\n{BROKEN}c\n{LAST}d\n{call('print(', UNPARSED)}e\n```python\nprint(3)"
    assert texts(text) == [f"a\n{FIRST}b\n", f"c\n{LAST}d\n"]
    made = fragments_of(solution(text), FENCED, 1500)
    assert [(each.number, each.total) for each in made] == [(0, 2), (1, 2)]
    assert [each.id for each in made] == [f"{solution('').id}-0", f"{solution('').id}-1"]


def test_an_output_that_only_speaks_of_errors_is_a_fragment():
    """A printed word is no traceback."""
    assert len(texts(call("print(s)", "a SyntaxError: or 2, ZeroDivisionError"))) == 1


PIECES = st.lists(st.sampled_from(["word ", "\n", FIRST, BROKEN, LAST, "```python\nx"]), max_size=8)


@given(PIECES, st.integers(0, 30))
@settings(deadline=None)
def test_fragments_are_pieces_of_the_text_with_one_call_each(pieces, window):
    """Whatever the text: in order, each with one call, and no character beyond the window."""
    text = "".join(pieces)
    made = fragments_of(solution(text), FENCED, window)
    assert [each.number for each in made] == list(range(len(made)))
    at = 0
    for each in made:
        at = text.index(each.text, at)
        (block,) = FENCED.blocks(each.text)
        assert block.start <= window
        assert len(each.text) - block.result_end <= window
        assert each.total == len(made)


def test_each_solution_has_fragments_or_is_a_reject():
    """In a pipeline; a solution is not copied into its fragments."""
    with_two = solution(f"a\n{FIRST}b\n{LAST}c", number=0)
    without = [solution("no call", number=1), solution(BROKEN, number=2)]

    def check_rows(rows):
        assert sorted((each.id, each.solution_id, each.total) for each in rows) == [
            (f"{with_two.id}-{number}", with_two.id, 2) for number in range(2)
        ]

    def check_rejects(rejects):
        assert reasons(rejects) == {each.id: "no_fragment" for each in without}
        details = sorted(reject.detail for reject in rejects)
        assert [detail.split(",")[0] for detail in details] == ["of 0 calls", "of 1 calls"]
        rows = [json.loads(reject.row)["text"] for reject in rejects]
        assert sorted(rows) == sorted(each.text for each in without)

    with beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"])) as pipeline:
        made = pipeline | beam.Create([with_two, *without]) | ExtractFragments("fragments", FENCED)
        assert_that(made.rows, check_rows, label="rows")
        assert_that(made.rejects, check_rejects, label="rejects")
    assert "solution" not in {name for name in Fragment.__slots__ if name != "solution_id"}


def test_a_window_below_nothing_is_refused():
    """It names the value."""
    with pytest.raises(ValueError, match="-1"):
        ExtractFragments("fragments", FENCED, window=-1)
