"""Calls to Python one by one, each with what stands around it: what judges are shown."""

import dataclasses
import functools
import re
from collections.abc import Iterator

import apache_beam as beam

from transforms.codec import to_json
from transforms.outcome import Outcome, SplitRejects
from transforms.records import Fragment, Reject, Solution, sample_id
from transforms.tir.code_format import NOT_RUN, Block, CodeFormat

WINDOW = 1500
# Code that cannot be parsed has an error and no frames.
_TRACEBACK = re.compile(
    r"Traceback \(most recent call last\)|^(?:SyntaxError|IndentationError|TabError): ",
    re.MULTILINE,
)


@dataclasses.dataclass(eq=False)
class ExtractFragments(beam.PTransform):
    """Take the calls that worked out of solutions, each with the text around it.

    In:   `Solution` records with unique ids, their calls written in `code_format`.
    Out:  `rows`, one or more `Fragment` records of a solution; `rejects`, the solutions that have
          none (`no_fragment`). Each solution is in one of the two.
    Cost: no shuffle; a parse of each text. A solution is not copied into its fragments.
    Once: a pure function of each solution.
    From: OpenMathReasoning, "extract_python_fragments".

    Args:
        stage: the name in the rejects.
        code_format: how calls are written.
        window: the most characters on either side of a call and its result.
    """

    shard_by_shard = True

    stage: str
    code_format: CodeFormat
    window: int = WINDOW

    def __post_init__(self) -> None:
        if self.window < 0:
            raise ValueError(f"window must be 0 or more, not {self.window}")

    def expand(self, solutions: beam.PCollection) -> Outcome:
        # Bound, not passed to FlatMap: Beam would check a format against a protocol, and cannot.
        extracted = functools.partial(
            _extracted, stage=self.stage, code_format=self.code_format, window=self.window
        )
        return solutions | "Extract" >> beam.FlatMap(extracted) | "Split" >> SplitRejects()


def fragments_of(solution: Solution, code_format: CodeFormat, window: int) -> list[Fragment]:
    """The solution's calls that have a result and no traceback in it, numbered from 0.

    Around a call and its result stand up to `window` characters on either side, but nothing of the
    call before or after, whether that one is a fragment or not.
    """
    blocks = code_format.blocks(solution.text)
    lows = [0, *(block.result_end for block in blocks)]
    highs = [*(block.start for block in blocks[1:]), len(solution.text)]
    texts = [
        solution.text[max(low, block.start - window) : min(high, block.result_end + window)]
        for block, low, high in zip(blocks, lows, highs, strict=False)
        if _works(block)
    ]
    return [
        Fragment(sample_id(solution.id, number), solution.id, number, len(texts), text)
        for number, text in enumerate(texts)
    ]


def _works(block: Block) -> bool:
    output = block.output
    is_told = output is not None and not output.startswith(NOT_RUN)
    return block.is_complete and is_told and not _TRACEBACK.search(output or "")


def _extracted(
    solution: Solution, stage: str, code_format: CodeFormat, window: int
) -> Iterator[Fragment | Reject]:
    fragments = fragments_of(solution, code_format, window)
    yield from fragments
    if not fragments:
        calls = len(code_format.blocks(solution.text))
        detail = f"of {calls} calls, none has a result without a traceback"
        yield Reject(stage, "no_fragment", detail, solution.id, to_json(solution), reply="")
