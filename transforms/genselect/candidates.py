"""Judged solutions of anybody's as candidates: what a reader is shown of each, and its label."""

import dataclasses
import functools
import json

import apache_beam as beam

from transforms.answers import has_answer, last_boxed
from transforms.codec import to_json
from transforms.equality import same_answer
from transforms.genselect.records import Candidate, JudgedCandidate
from transforms.outcome import Outcome, SplitRejects
from transforms.records import Origin, Problem, Reject, Trace
from transforms.seeding import digest
from transforms.sft.parsed import answer_start
from transforms.sft.traces import trace_of_row
from transforms.sft.trimming import outer_boxes

PUBLISHED_CHARACTERS = 3000


@dataclasses.dataclass(eq=False)
class CandidatesOfRows(beam.PTransform):
    """Read judged solutions as candidates.

    In:   `Problem` records, one for each row of judged solutions, as `TracesOfRows` takes them.
    Out:  `rows`, a `JudgedCandidate` of each, with the id of a sample of its problem; `rejects`,
          those that nobody should choose among: `missing_generation` and `bad_column`, as there;
          `truncated`, `unlabeled`, `no_reasoning_end`, `no_boxed_answer`, `several_boxes`,
          `box_cut_off`, `answer_differs`.
    Cost: no shuffle; where a box and `predicted_answer` are spelled differently, a comparison.
    Once: a pure function of each row, but for comparisons near math-verify's time limit.
    From: OpenMathReasoning, "prepare_labeling_data".

    Args:
        stage: the name in the rejects.
        use_judgement: as `TracesOfRows`.
        most_characters: the length of a text beyond which only its end is shown.
    """

    stage: str
    use_judgement: bool | None = None
    most_characters: int = PUBLISHED_CHARACTERS

    def expand(self, rows: beam.PCollection) -> Outcome:
        read = functools.partial(
            candidate_of_row,
            stage=self.stage,
            use_judgement=self.use_judgement,
            most_characters=self.most_characters,
        )
        return rows | "Read" >> beam.Map(read) | "Split" >> SplitRejects()


def candidate_of_row(
    row: Problem,
    stage: str,
    use_judgement: bool | None = None,
    most_characters: int = PUBLISHED_CHARACTERS,
) -> JudgedCandidate | Reject:
    """The candidate that a row is, or its reject."""
    trace = trace_of_row(row, stage, use_judgement)
    if isinstance(trace, Reject):
        return trace
    whole = trace.generation[answer_start(trace.generation) :].strip()
    text = shortened(whole, most_characters)
    reason, detail = _fault(trace, whole, text)
    if reason:
        return Reject(stage, reason, detail, trace.id, to_json(trace), reply="")
    has_own_id = row.source_id != digest(row.text)
    answer = trace.predicted_answer if has_answer(trace.predicted_answer) else last_boxed(text)
    assert answer is not None and trace.is_correct is not None
    return JudgedCandidate(
        id=trace.id,
        problem_id=trace.problem_id,
        problem=trace.problem,
        expected_answer=trace.expected_answer,
        origin=_origin(row, trace),
        candidate=Candidate(
            id=row.source_id if has_own_id else trace.id,
            text=text,
            answer=answer,
            is_correct=trace.is_correct,
        ),
    )


def shortened(text: str, most: int) -> str:
    """The last `most` characters of a text, from the beginning of a paragraph on.

    Where fewer than two paragraphs begin there, they are left as they are cut.
    """
    if len(text) <= most:
        return text
    end = text[-most:]
    return end[end.index("\n\n") :].strip() if end.count("\n\n") > 1 else end.strip()


def _fault(trace: Trace, whole: str, text: str) -> tuple[str, str]:
    """(reason, detail) of a solution that is no candidate; ("", "") where nothing is wrong."""
    if trace.finish_reason == "length":
        return "truncated", "its finish_reason is length"
    if trace.is_correct is None:
        return "unlabeled", "nobody has judged it, or the verdict cannot be read"
    if not whole:
        return "no_reasoning_end", "nothing follows its reasoning"
    boxes = len(outer_boxes(whole))
    if not boxes:
        return "no_boxed_answer", r"it has no final answer in \boxed{}"
    if boxes > 1:
        return "several_boxes", f"{boxes} boxes behind the reasoning"
    box = last_boxed(text)
    if box is None:
        return "box_cut_off", f"its box is not among the last {len(text)} characters"
    if has_answer(trace.predicted_answer) and not same_answer(box, trace.predicted_answer):
        said = f"its box says {box!r}, and the answer that was judged is"
        return "answer_differs", f"{said} {trace.predicted_answer!r}"
    return "", ""


def _origin(row: Problem, trace: Trace) -> Origin:
    """Where the problem came from: as the row's own provenance says, if it is one of ours."""
    known = json.loads(trace.extra).get("provenance")
    said = known.get("problem") if isinstance(known, dict) else None
    names = [field.name for field in dataclasses.fields(Origin)]
    if isinstance(said, dict) and all(isinstance(said.get(name), str) for name in names):
        return Origin(**{name: said[name] for name in names})
    return Origin(trace.problem_id, row.source, row.source_id, row.licence, "{}")
