"""Expected answers from the vote of a problem's own solutions: missing ones filled, wrong ones out.

judgements ─┬─ CombinePerKey(MajorityVote) ─┬─ repair ─ judgements anew
            └───────────────────────────────┘
"""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Final, Literal

import apache_beam as beam

from transforms.equality import Equality
from transforms.grouping import Group
from transforms.judging import CORRECT, INCORRECT, UNJUDGED, by_problem, compared
from transforms.majority import MajorityVote, fill, repair
from transforms.outcome import Outcome, without_rejects
from transforms.records import AgreedAnswer, Ballot, Judgement, Majority, Repair
from transforms.symbolic import equal_formulas

Mode = Literal["fill", "repair"]
FILL: Final = "fill"
REPAIR: Final = "repair"
_VERDICTS = {CORRECT: True, INCORRECT: False, UNJUDGED: None}


@dataclasses.dataclass(eq=False)
class FillMajorityAnswer(beam.PTransform):
    """Let a problem's solutions vote for its answer, where it has none or none of them has it.

    In:   `Judgement` records; those of one problem vote together. To repair, all are judged.
    Out:  `rows`, the judgements with the vote in `agreed`; where the expected answer is another
          than before, compared anew and by equality alone, so that a judge has to look again.
          `rejects`, empty: without a majority, a missing answer stays missing.
    Cost: one shuffle for the vote and one to bring it back; the judgements of a problem in memory,
          and comparisons as `MajorityVote`.
    Once: independent of input order, so retries are harmless.
    From: OpenReasoning, "use_majority_if_no_answer"; OpenMathReasoning, "fill_majority_answer";
          Nemotron-Math-v2, "Majority vote and expected-answer repair". There, texts vote as they
          are spelt, the first of a tie wins, and the original answer is lost.

    Args:
        mode: `fill` touches missing answers alone; `repair` also those that every readable verdict
            is against (`majority.repair`). A solution without an answer has no verdict.
        quorum, min_answers: as `MajorityVote`.
        min_verdicts: the least number of readable verdicts that can overturn an answer.
        equal: compares two formulas.

    Raises:
        ValueError: a number is less than 1.
    """

    shard_by_shard = True

    mode: Mode = FILL
    quorum: int = 1
    min_answers: int = 1
    min_verdicts: int = 1
    equal: Equality = equal_formulas

    def __post_init__(self) -> None:
        if self.min_verdicts < 1:
            raise ValueError(f"min_verdicts={self.min_verdicts} must be at least 1")

    def expand(self, judgements: beam.PCollection) -> Outcome:
        majorities = (
            judgements
            | "Ballots" >> beam.Map(_ballot)
            | "Vote" >> beam.CombinePerKey(MajorityVote(self.quorum, self.min_answers, self.equal))
        )
        keyed = (judgements | "KeyByProblem" >> beam.Map(by_problem), majorities)
        rows = keyed | "Join" >> Group() | "Agree" >> beam.FlatMapTuple(self.agreed)
        return without_rejects(rows)

    def agreed(self, problem_id: str, parts: Iterable[Judgement | Majority]) -> Iterator[Judgement]:
        """A problem's judgements after the vote, which is one of the parts."""
        judgements: list[Judgement] = []
        for part in parts:
            if isinstance(part, Majority):
                vote = part
            else:
                judgements.append(part)
        judgements.sort(key=lambda judgement: judgement.id)
        outcome = self._repaired(judgements, vote)
        ballots = tuple(Ballot(one.id, one.predicted_answer) for one in judgements)
        agreed = AgreedAnswer(outcome, vote, ballots)
        for judgement in judgements:
            changed = dataclasses.replace(judgement, expected_answer=outcome.answer, agreed=agreed)
            is_new = outcome.action in ("filled", "repaired")
            yield compared(changed, self.equal) if is_new else changed

    def _repaired(self, judgements: list[Judgement], vote: Majority) -> Repair:
        original = judgements[0].expected_answer
        if self.mode == FILL:
            return fill(original, vote)
        verdicts = [
            _VERDICTS[judgement.verdict]
            for judgement in judgements
            if judgement.verdict in _VERDICTS
        ]
        return repair(original, vote, verdicts, self.min_verdicts, self.equal)


def _ballot(judgement: Judgement) -> tuple[str, str | None]:
    return judgement.problem_id, judgement.predicted_answer
