r"""What travels from judged solutions to comparisons of them.

An instance of a problem with two wrong solutions and one that is right, as a sample:

    Instance(id="8c1f…-0", problem_id="8c1f…", problem="How many…?", expected_answer="18",
             origin=Origin(…), solutions=(
                 Candidate(id="8c1f…-7", text="… \\boxed{16}", answer="16", is_correct=False),
                 Candidate(id="8c1f…-3", text="… \\boxed{18}", answer="18", is_correct=True),
                 Candidate(id="8c1f…-4", text="… \\boxed{9}", answer="9", is_correct=False)))
"""

import dataclasses

from transforms.records import Call, Origin


@dataclasses.dataclass(frozen=True, slots=True)
class Candidate:
    """What a reader is shown of a solution, its final answer, and whether that is right.

    `id` is the solution's own, where its row has one.
    """

    id: str
    text: str
    answer: str
    is_correct: bool


@dataclasses.dataclass(frozen=True, slots=True)
class JudgedCandidate:
    """A candidate, and the problem that it solves."""

    id: str
    problem_id: str
    problem: str
    expected_answer: str | None
    origin: Origin
    candidate: Candidate


@dataclasses.dataclass(frozen=True, slots=True)
class JudgedProblem:
    """A problem with all of its candidates, no two of the same text, in the order of their texts.

    There are at least four, with right and wrong ones among them.
    """

    id: str
    problem: str
    expected_answer: str | None
    origin: Origin
    candidates: tuple[Candidate, ...]
    num_solutions: int


@dataclasses.dataclass(frozen=True, slots=True)
class Instance:
    """Some candidates of a problem to choose among, numbered from 0 as they stand.

    Of the instances of a problem the k-th has the id `PROBLEM-k`.
    """

    id: str
    problem_id: str
    problem: str
    expected_answer: str | None
    origin: Origin
    solutions: tuple[Candidate, ...]

    @property
    def max_idx(self) -> int:
        """The number of the last solution."""
        return len(self.solutions) - 1


@dataclasses.dataclass(frozen=True, slots=True)
class Comparison:
    """What a model wrote about an instance, and the number of the solution that it chose.

    `reasoning` is what a server has set apart from `text`. After a summary, `text` is that.
    """

    id: str
    instance: Instance
    text: str
    reasoning: str
    judgment: int
    calls: tuple[Call, ...]

    @property
    def chosen(self) -> Candidate:
        """The solution that it chose."""
        return self.instance.solutions[self.judgment]


@dataclasses.dataclass(frozen=True, slots=True)
class ComparisonSummary:
    """A text that tells a comparison again, and how a model was asked for it."""

    id: str
    comparison_id: str
    text: str
    call: Call
