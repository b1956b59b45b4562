"""Instances: a few right and wrong solutions of a problem, drawn for a model to choose among."""

import dataclasses
import functools
import random
import statistics
from collections.abc import Iterator, Sequence

import apache_beam as beam
import pydantic

from transforms.codec import to_json
from transforms.genselect.records import Candidate, Instance, JudgedProblem
from transforms.outcome import Outcome, SplitRejects
from transforms.records import Reject, sample_id
from transforms.seeding import stream
from transforms.sft.lengths import CHARACTERS, Lengths

FEWEST = 2
_ATTEMPTS = 2  # for each instance that is wanted
# Characters of a token: of a text with fewer of them there are as many tokens at most as are
# allowed, and of one with more there are too many; between the two they are counted.
_SURELY_SHORT, _SURELY_LONG = 3, 5


class InstanceRules(pydantic.BaseModel, frozen=True, extra="forbid"):
    """How many instances a problem has, and how large they are."""

    max_instances_per_problem: int = pydantic.Field(
        8, ge=1, description="most instances of a problem"
    )
    max_solutions: int = pydantic.Field(16, ge=FEWEST, description="most solutions of an instance")
    max_instance_tokens: int = pydantic.Field(
        20_000, ge=1, description="most tokens of the solutions of an instance together"
    )


@dataclasses.dataclass(eq=False)
class MakeInstances(beam.PTransform):
    """Draw instances of each problem.

    In:   `JudgedProblem` records.
    Out:  `rows`, one or more `Instance` records of each, no two of them the same; `rejects`, the
          problems of which every draw is too long (`instances_too_long`).
    Cost: no shuffle; of solutions of middle length, their tokens.
    Once: a pure function of the seed, the problem and its candidates.
    From: OpenMathReasoning, "prepare_labeling_data"; `docs/genselect.md` says what is done
          otherwise.

    Args:
        stage: the name in the rejects.
        seed: of the draws.
        rules: how many, and how large.
        lengths: what counts tokens; characters are none, and then what is not surely short enough
            is too long.
    """

    shard_by_shard = True

    stage: str
    seed: int
    rules: InstanceRules = InstanceRules()
    lengths: Lengths = CHARACTERS

    def expand(self, problems: beam.PCollection) -> Outcome:
        made = functools.partial(
            _instances_or_reject,
            stage=self.stage,
            seed=self.seed,
            rules=self.rules,
            lengths=self.lengths,
        )
        return problems | "Draw" >> beam.FlatMap(made) | "Split" >> SplitRejects()


def instances_of(
    problem: JudgedProblem, rules: InstanceRules, seed: int, lengths: Lengths = CHARACTERS
) -> list[Instance]:
    """Different instances of a problem, as many as the rules allow and two draws for each find."""
    right = [one for one in problem.candidates if one.is_correct]
    wrong = [one for one in problem.candidates if not one.is_correct]
    found: dict[str, tuple[Candidate, ...]] = {}
    for attempt in range(_ATTEMPTS * rules.max_instances_per_problem):
        rng = stream(seed, "instance", problem.id, attempt)
        drawn = drawn_of(right, wrong, rules.max_solutions, rng)
        text = shown(drawn)
        if text not in found and _is_short(text, rules.max_instance_tokens, lengths):
            found[text] = drawn
        if len(found) == rules.max_instances_per_problem:
            break
    return [
        Instance(
            id=sample_id(problem.id, number),
            problem_id=problem.id,
            problem=problem.problem,
            expected_answer=problem.expected_answer,
            origin=problem.origin,
            solutions=drawn,
        )
        for number, drawn in enumerate(found.values())
    ]


def drawn_of(
    right: Sequence[Candidate], wrong: Sequence[Candidate], most: int, rng: random.Random
) -> tuple[Candidate, ...]:
    """From 2 to `most` candidates, one of each kind at least, and no more right ones than wrong.

    So an instance is never easy: who follows the majority does not find what is right.
    """
    few = rng.sample(right, min(len(right), len(wrong)))
    number = number_of(min(len(few) + len(wrong), most), rng)
    rest = [*few, *wrong]
    drawn = [rest.pop(rng.randrange(len(few))), rest.pop(-1 - rng.randrange(len(wrong)))]
    rng.shuffle(rest)
    room = number // 2 - 1  # for right ones
    for one in rest:
        if len(drawn) == number:
            break
        if one.is_correct and not room:
            continue
        room -= one.is_correct
        drawn.append(one)
    rng.shuffle(drawn)
    return tuple(drawn)


def number_of(available: int, rng: random.Random) -> int:
    """From 2 to `available`, by a normal distribution around the middle, cut off at both."""
    if available <= FEWEST:
        return available
    spread = statistics.NormalDist((available + FEWEST) // 2, (available - FEWEST) / 6)
    low, high = spread.cdf(FEWEST), spread.cdf(available)
    drawn = spread.inv_cdf(low + rng.random() * (high - low))
    return min(available, max(FEWEST, round(drawn)))


def shown(solutions: Sequence[Candidate]) -> str:
    """Candidates as a model sees them, under their numbers."""
    blocks = (f"Solution {number}:\n{one.text}" for number, one in enumerate(solutions))
    return "\n\n".join(blocks)


def _is_short(text: str, most_tokens: int, lengths: Lengths) -> bool:
    if len(text) < _SURELY_SHORT * most_tokens:
        return True
    is_counted = bool(lengths.tokenizer) and len(text) <= _SURELY_LONG * most_tokens
    return is_counted and lengths.of(text) <= most_tokens


def _instances_or_reject(
    problem: JudgedProblem, stage: str, seed: int, rules: InstanceRules, lengths: Lengths
) -> Iterator[Instance | Reject]:
    made = instances_of(problem, rules, seed, lengths)
    yield from made
    if not made:
        detail = f"all draws of its {problem.num_solutions} solutions are too long"
        yield Reject(stage, "instances_too_long", detail, problem.id, to_json(problem), reply="")
