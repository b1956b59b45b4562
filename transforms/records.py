"""The glossary: what travels between transforms.

Frozen and slotted, so that Beam can use them as they are; plain data, so that a stage's rows can
be read with any Parquet reader. A problem, as a sample:

    Problem(id="8c1f…", text="How many…?", source="theoremqa", source_id="jianyu_xu/Lah_6.json",
            licence="MIT", extra='{"field":"Math"}')

Ids are hashes of content. A record keeps its id through every stage that only adds to it; of
several samples of one record, the k-th has the id `ID-k`.
"""

import dataclasses
from typing import Annotated, Generic, NamedTuple, TypeVar

import pydantic

R = TypeVar("R")
V = TypeVar("V")
Statement = Annotated[str, pydantic.StringConstraints(strip_whitespace=True, min_length=1)]


def sample_id(record_id: str, sample: int) -> str:
    """The id of one of several samples of a record."""
    return f"{record_id}-{sample}"


def lineage(record_id: str) -> list[str]:
    """An id and those of the records that it is a sample of: of `x-0-2` also `x-0` and `x`."""
    parts = record_id.split("-")
    return ["-".join(parts[:length]) for length in range(len(parts), 0, -1)]


@dataclasses.dataclass(frozen=True, slots=True)
class Problem:
    """A problem as it came from a source.

    `id` hashes the text and the occurrence number of equal texts; `source_id` is the row's own id,
    or the hash of the text where it has none; `extra` holds the row's other columns as canonical
    JSON. `expected_answer` is there if the source is known to have one, and this row has.
    """

    id: str
    text: str
    source: str
    source_id: str
    licence: str
    extra: str
    expected_answer: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Attribution:
    """Who wrote a post that a row was made from, as its licence asks to be told.

    `author` is a name, or where none is known the address of the account, or ""; `posted` an ISO
    date; `licence` the one that applied to the post on that day.
    """

    author: str
    url: str
    posted: str
    licence: str


@dataclasses.dataclass(frozen=True, slots=True)
class Thread:
    """A question asked in a forum and what was replied, cleaned for a model to read.

    `post` is the first post, and `discussion` the others: "Post N:" on a line of its own, the text,
    an empty line, N from 1; "" where there are none. `id` hashes both and the occurrence number of
    equal threads. `source`, `source_id`, `licence` and `extra` are those of `Problem`;
    `attributions` are of the first post and of each in the discussion, in order, where the source
    knows them.
    """

    id: str
    post: str
    discussion: str
    source: str
    source_id: str
    licence: str
    extra: str
    attributions: tuple[Attribution, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Origin:
    """Where one of a row's problems came from."""

    id: str
    source: str
    source_id: str
    licence: str
    extra: str


@dataclasses.dataclass(frozen=True, slots=True)
class Pair:
    """One element of the cross product of two sets of problems."""

    id: str
    a: Problem
    b: Problem


@dataclasses.dataclass(frozen=True, slots=True)
class Reject:
    """A row that a stage could not use: why, and everything needed to try it again.

    `reason` is one of a short list of words and is what reports count; `detail` is for people;
    `row` is the record as canonical JSON; `reply` is what the model said last, if it was asked;
    `sample` and `keys` are those of the conversation, as in `Call`.
    """

    stage: str
    reason: str
    detail: str
    id: str
    row: str
    reply: str
    sample: int = 0
    keys: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Call:
    """How a model was asked for a value: the provenance of one answer.

    `sampling` is canonical JSON; `sample` counts a record's answers from 0; `turns` counts the
    answers of the conversation, of which all but the last were corrected, and `keys` are those of
    its requests in the answer store: of a solution with Python, one for each of its rounds. Token
    counts sum over them.
    """

    ask: str
    prompt: str
    prompt_hash: str
    model: str
    sampling: str
    seed: int
    sample: int
    turns: int
    keys: tuple[str, ...]
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int


@dataclasses.dataclass(frozen=True, slots=True)
class ToolUse:
    """How a model used Python on its way to one answer.

    `rounds` are its turns, and `executions` the calls that ran; of these `errors` raised,
    `timeouts` ran out of time, and `state_losses` cost the session its variables. At most
    `max_executions` were allowed; None is any number. `refused` calls did not run, and the model
    was told so. Of the tokens that the sample's budget counts
    `completion_tokens` are the model's, and `result_tokens` those of results. `ended` says why it
    was over: `answer`, where the model had come to its end; `executions`, where it went on calling
    with none left; `budget`, where its tokens were used up.
    """

    code_format: str
    max_executions: int | None
    rounds: int
    executions: int
    refused: int
    errors: int
    timeouts: int
    state_losses: int
    completion_tokens: int
    result_tokens: int
    ended: str


class TokenLogprob(NamedTuple):
    """A token of an answer, its log probability, and those of the likeliest tokens in its place."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Answered(Generic[R, V]):
    """A record, the value read from the model's answer about it, and how it was asked.

    `id` is what the record made of it must have: the record's own, or where it was asked about
    several times, that of the sample. `logprobs` are those of the answer's tokens, if the sampling
    asked for them; `tool_use` is there if the ask had tools; `reasoning` is what a server has taken
    out of the answer.
    """

    id: str
    record: R
    value: V
    call: Call
    logprobs: tuple[TokenLogprob, ...] = ()
    tool_use: ToolUse | None = None
    reasoning: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Solution:
    """One solution of a problem; of several samples the k-th has the id `PROBLEM-k`.

    `text` is what the model wrote, and where it used Python, the results that it was shown;
    `reasoning` is what comes before it between think tags, or as a server has set it apart. Of a
    solution with Python the reasoning is in `text`, between its tags.
    `predicted_answer` is its final answer; None where it has none.
    """

    id: str
    problem: Problem
    text: str
    predicted_answer: str | None
    calls: tuple[Call, ...]
    tool_use: ToolUse | None = None
    reasoning: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Majority:
    """What a vote on final answers came to.

    `answer` is the winner in the spelling that most of its voters used, of several the shortest and
    then the first by the alphabet; None where there is none, and then `why` is `no_answers`,
    `too_few_answers`, `tie` or `below_quorum`. `votes` are those of the largest class of equal
    answers, `answers` the ballots with an answer, and `ballots` all of them.
    """

    answer: str | None
    votes: int
    answers: int
    ballots: int
    why: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Repair:
    """An expected answer after the vote, the one before it, and what was done.

    `action` is `kept`; `filled`, where there was none; `repaired`, where all verdicts were against
    it; or, the answer being left as it was, `no_consensus` of the vote or `too_few_verdicts`.
    """

    answer: str | None
    original_answer: str | None
    action: str


@dataclasses.dataclass(frozen=True, slots=True)
class Ballot:
    """What one solution voted for; None where it has no answer."""

    solution_id: str
    answer: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class AgreedAnswer:
    """What a problem's solutions are held to after the vote: how it came to be, and who voted."""

    repair: Repair
    majority: Majority
    ballots: tuple[Ballot, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Judgement:
    """Whether a solution's final answer is the expected one; without the solution's text.

    `id` is the solution's. `verdict` is `correct` or `incorrect`; `no_answer`, where the solution
    has none; `no_expected_answer`, where there is nothing to compare with; `undecided`, where no
    equality says that they are the same and no judge was asked yet; `unjudged`, where the judge's
    votes cannot be read or are a tie. `judged_by` is `equality` or `judge`, and "" where neither
    decided; `judge_calls` and `vote_ids` are those of the judge's votes. `agreed` is there after a
    vote.
    """

    id: str
    problem_id: str
    problem: str
    predicted_answer: str | None
    expected_answer: str | None
    verdict: str
    judged_by: str = ""
    judge_calls: tuple[Call, ...] = ()
    vote_ids: tuple[str, ...] = ()
    agreed: AgreedAnswer | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class AnswerPair:
    """An expected answer and a predicted one of the same problem, which no equality settles.

    `id` is that of the problem and `pair0`, `pair1` and so on.
    """

    id: str
    problem: str
    expected_answer: str
    predicted_answer: str


@dataclasses.dataclass(frozen=True, slots=True)
class AnswerVote:
    """A judge's vote on a pair of answers: whether they are the same."""

    id: str
    pair: AnswerPair
    is_same: bool
    call: Call


@dataclasses.dataclass(frozen=True, slots=True)
class Fragment:
    """A call to Python in a solution: the call, its result and some of the text around them.

    `id` is that of the solution and the number, from 0 among the `total` fragments that it has.
    """

    id: str
    solution_id: str
    number: int
    total: int
    text: str


@dataclasses.dataclass(frozen=True, slots=True)
class Vote:
    """One sample's answer to a question about a fragment."""

    question: str
    sample: int
    label: str


@dataclasses.dataclass(frozen=True, slots=True)
class FragmentVote:
    """A vote on a fragment, and how the model was asked for it."""

    id: str
    fragment_id: str
    vote: Vote
    call: Call


@dataclasses.dataclass(frozen=True, slots=True)
class JudgedFragment:
    """What the votes make of a fragment; None where too few of them can be read."""

    id: str
    is_novel: bool | None
    significance: str | None
    votes: tuple[Vote, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class InsightfulSolution:
    """A solution whose code adds something to it, and the judgements that say so.

    The calls of the votes are among those of the solution.
    """

    id: str
    solution: Solution
    fragments: tuple[JudgedFragment, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class JudgedSolution:
    """A solution, and whether its final answer is the expected one.

    The fields of the verdict are those of `Judgement`. `pass_rate` is there where it was counted:
    the share of correct ones among the problem's samples that were judged together. `fragments`
    are there if judges have looked at what its code is worth.
    """

    id: str
    solution: Solution
    expected_answer: str | None
    verdict: str
    judged_by: str = ""
    judge_calls: tuple[Call, ...] = ()
    agreed: AgreedAnswer | None = None
    pass_rate: float | None = None
    fragments: tuple[JudgedFragment, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Summary:
    """A text to stand after a solution's reasoning, and how a model was asked for it.

    `predicted_answer` is the summary's own, from its last box.
    """

    id: str
    solution_id: str
    text: str
    predicted_answer: str
    call: Call


@dataclasses.dataclass(frozen=True, slots=True)
class TraceProvenance:
    """Where a trace's problem came from, and every call, vote and verdict that made the trace.

    The fields are those of `Solution` and `JudgedSolution`; of somebody else's row no more than the
    problem is known, under the row's id.
    """

    problem: Origin
    calls: tuple[Call, ...] = ()
    tool_use: ToolUse | None = None
    verdict: str = ""
    judged_by: str = ""
    judge_calls: tuple[Call, ...] = ()
    agreed: AgreedAnswer | None = None
    pass_rate: float | None = None
    fragments: tuple[JudgedFragment, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Trace:
    """A solution as the makers of training data take it, whoever generated and judged it.

    `generation` is the solution, and `reasoning_content` what comes before it between think tags,
    if it was kept apart. `is_correct` is None where nobody judged. `finish_reason` is `stop`, or
    `length`, or "" where nobody knows. `majority_votes` of `total_votes` were for the expected
    answer if it came from a vote. `code_format` says how calls to Python are written in
    `generation`, "" where there are none; `total_code_executions` is how many the prompt allowed,
    where it said so. `extra` is canonical JSON of whatever else is known: it ends in the row's
    optional columns.
    """

    id: str
    problem_id: str
    problem: str
    generation: str
    reasoning_content: str
    expected_answer: str | None
    predicted_answer: str | None
    is_correct: bool | None
    finish_reason: str
    majority_votes: int | None = None
    total_votes: int | None = None
    code_format: str = ""
    total_code_executions: int | None = None
    extra: str = "{}"
    provenance: TraceProvenance | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class SftFunction:
    """What a tool call names, and its arguments: a JSON object as text, as OpenAI's API has it."""

    name: str
    arguments: str


@dataclasses.dataclass(frozen=True, slots=True)
class SftToolCall:
    """A call of a tool in a message; of a trace's calls the k-th has the id `call_k`."""

    id: str
    function: SftFunction
    type: str = "function"


@dataclasses.dataclass(frozen=True, slots=True)
class SftMessage:
    """A message of a conversation; `tool_call_id` says which call a tool's message replies to."""

    role: str
    content: str
    reasoning_content: str = ""
    tool_calls: tuple[SftToolCall, ...] = ()
    tool_call_id: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class SftExample:
    """A row for supervised fine-tuning: the published columns in their order, then our own.

    `input` and `output` are texts, rendered as the model reads and writes them; `messages` are the
    same conversation in parts. The columns from `problem` to `extra` are those that the published
    writer calls optional. `metadata` is JSON that all rows have in common.
    `split` says which of the dataset's splits the row is in, and is no column.
    """

    expected_answer: str | None
    input: str
    output: str
    messages: tuple[SftMessage, ...]
    problem: str
    generation: str
    predicted_answer: str | None
    is_correct: bool | None
    majority_votes: int | None
    total_votes: int | None
    total_code_executions: int | None
    finish_reason: str
    extra: str
    metadata: str
    id: str
    problem_id: str
    provenance: TraceProvenance | None
    split: str = "train"


@dataclasses.dataclass(frozen=True, slots=True)
class SftShortExample:
    """A row for supervised fine-tuning with the published columns alone, and its metadata."""

    expected_answer: str | None
    input: str
    output: str
    metadata: str
    id: str
    split: str = "train"


@dataclasses.dataclass(frozen=True, slots=True)
class RlExample:
    """A row for reinforcement learning: a problem, its answer, and the prompt as models read it.

    `id` is that of the problem.
    """

    problem: str
    expected_answer: str
    input: str
    id: str
    split: str = "train"


@dataclasses.dataclass(frozen=True, slots=True)
class NewProblem:
    """A problem that a model made from a pair."""

    added_concepts: Annotated[
        str, pydantic.Field(description="which ideas were brought in from the second problem")
    ]
    problem: Annotated[
        Statement, pydantic.Field(description="the complete text of the new problem")
    ]


@dataclasses.dataclass(frozen=True, slots=True)
class NewProblemList:
    """The candidates for one pair."""

    problems: Annotated[
        tuple[NewProblem, ...], pydantic.Field(description="the new problems, each complete")
    ]


@dataclasses.dataclass(frozen=True, slots=True)
class NewProblemWithReasoning:
    """The best candidate and why it was chosen."""

    added_concepts: Annotated[
        str, pydantic.Field(description="the chosen candidate's added concepts")
    ]
    problem: Annotated[
        Statement, pydantic.Field(description="the chosen candidate's text, unchanged")
    ]
    reasoning: Annotated[str, pydantic.Field(description="in a sentence or two, why this one")]


@dataclasses.dataclass(frozen=True, slots=True)
class NewProblemEvals:
    """Scores of a new problem against the one it was made from; 1 is worst, 3 is best."""

    difficulty: Annotated[
        int, pydantic.Field(ge=1, le=3, description="how much harder than the original")
    ]
    clarity: Annotated[int, pydantic.Field(ge=1, le=3, description="how clear and coherent")]
    adherence: Annotated[
        int, pydantic.Field(ge=1, le=3, description="how well the goal of the change is met")
    ]


@dataclasses.dataclass(frozen=True, slots=True)
class CrossBreed:
    """A pair on its way to a new problem; a field is None until its stage has filled it."""

    id: str
    pair: Pair
    combination_type: str
    problem_candidates: NewProblemList | None = None
    best_problem_json: NewProblemWithReasoning | None = None
    evals: NewProblemEvals | None = None
    solution: str | None = None
    calls: tuple[Call, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Provenance:
    """What a row was made from, and every model call that made it."""

    a: Origin
    b: Origin
    calls: tuple[Call, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class CrossBreedExample:
    """A row of the finished dataset: the published columns in their order, then provenance."""

    id_a: str
    problem_a: str
    id_b: str
    problem_b: str
    combination_type: str
    problem_candidates: NewProblemList
    best_problem_json: NewProblemWithReasoning
    new_problem: str
    evals: NewProblemEvals
    solution: str
    id: str
    provenance: Provenance
