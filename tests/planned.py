"""What must come out of a rehearsed run that solves, judges, votes and repairs, worked out anew.

Of the product nothing is used but seeds, fates and the plans of its rehearsals: answers are the
same if their numbers are, or their words. A problem's samples and what becomes of them:

    problem = Solved("8c1f…", "How many…?", "18", solutions(…))
    problem.judge(judge); problem.repair(); problem.judge(again)
"""

import dataclasses
import functools
import importlib.util
import json
import os
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow.parquet as pq

from transforms.engines.rehearsal import FAILING, MALFORMED, Rehearsal
from transforms.seeding import digest, sampling_seed, stream

ROOT = Path(__file__).parents[1]
LOST = {MALFORMED: "truncated_answer", FAILING: "request_refused"}
FAULTLESS = Rehearsal()
Rejected = set[tuple[str, str, int, str]]  # stage, id, sample, reason


@functools.cache
def generator(prompt: str) -> ModuleType:
    """The rehearsal of a prompt."""
    spec = importlib.util.spec_from_file_location("planned", ROOT / "prompts" / f"{prompt}.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def draws(engine: Rehearsal, ask: str, prompt: str, of: str, sample: int) -> tuple[str, Any]:
    """Why a sample's answer is lost or "", and the draws that it is made by."""
    seed = sampling_seed(0, ask, of, sample)
    rng = stream("rehearsal", engine.seed, prompt, seed)
    return LOST.get(engine.fate(prompt, seed), ""), rng


def value(answer: str) -> Fraction | str:
    """What an answer says: its number, or its words."""
    if " " in answer or answer.isalpha():
        return answer
    number = answer.removeprefix("x=").replace(",", "").replace("\\frac{", "").rstrip("}")
    return Fraction(number.replace("}{", "/"))


def spelt(number: int, which: int) -> str:
    """A number in one of the spellings that equality takes for the same."""
    return (f"{number}.0", f"x={number}", f"{number:,}")[which % 3]


@dataclasses.dataclass
class Sample:
    """A planned solution, its text as far as two of a problem differ in it, and its verdict."""

    id: str
    answer: str | None
    text: Any
    verdict: str = ""
    judged_by: str = ""
    judge_calls: int = 0
    pass_rate: float | None = None


@dataclasses.dataclass
class Judge:
    """A stage that asks a model about pairs of answers."""

    stage: str
    engine: Rehearsal = FAULTLESS
    votes: int = 1
    rejects: Rejected = dataclasses.field(default_factory=set)
    prompt: str = "math/judge"

    def votes_on(self, pair_id: str, expected: str, predicted: str) -> list[bool]:
        """The votes that can be read; the others are rejects."""
        cast = []
        for vote in range(self.votes):
            lost, _ = draws(self.engine, self.stage, self.prompt, pair_id, vote)
            if not lost and "or so" in f"{expected} {predicted}":
                lost = "malformed_answer"
            if lost:
                self.rejects.add((self.stage, pair_id, vote, lost))
            else:
                cast.append(_digits(expected) == _digits(predicted))
        return cast


def _digits(answer: str) -> list[str]:
    return re.findall(r"\d+", answer.replace(",", ""))


@dataclasses.dataclass
class Solved:
    """A problem and those of its samples that vote together."""

    id: str
    text: str
    expected: str | None
    samples: list[Sample]
    action: str = ""
    majority: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        self.original = self.expected
        self.compare()

    def compare(self) -> None:
        """What equality says."""
        for one in self.samples:
            one.judged_by = ""
            if one.answer is None:
                one.verdict = "no_answer"
            elif self.expected is None:
                one.verdict = "no_expected_answer"
            elif value(one.answer) == value(self.expected):
                one.verdict, one.judged_by = "correct", "equality"
            else:
                one.verdict = "undecided"

    def judge(self, judge: Judge) -> None:
        """What the judge says of what is undecided."""
        undecided = [one for one in self.samples if one.verdict == "undecided"]
        for answer in {one.answer or "" for one in undecided}:
            pair_id = f"{self.id}-pair{digest(self.expected, answer)[:16]}"
            cast = judge.votes_on(pair_id, self.expected or "", answer)
            balance = 2 * sum(cast) - len(cast)
            for one in undecided:
                if one.answer == answer:
                    one.verdict = "correct" if balance > 0 else "incorrect"
                    one.judged_by = "judge"
                    one.judge_calls += len(cast)
                    if not balance:
                        one.verdict, one.judged_by = "unjudged", ""

    def vote(self, quorum: int = 1) -> None:
        """Who wins, and why nobody does."""
        texts = Counter(one.answer for one in self.samples if one.answer is not None)
        polled: dict[Fraction | str, int] = defaultdict(int)
        for text, count in texts.items():
            polled[value(text)] += count
        most = max(polled.values(), default=0)
        first = [said for said, count in polled.items() if count == most]
        why = ""
        if not texts:
            why = "no_answers"
        elif len(first) > 1:
            why = "tie"
        elif most < quorum:
            why = "below_quorum"
        winner = None
        if not why:
            alike = [text for text in texts if value(text) == first[0]]
            winner = sorted(alike, key=lambda text: (-texts[text], len(text), text))[0]
        self.majority = {
            "answer": winner, "votes": most, "answers": texts.total(),
            "ballots": len(self.samples), "why": why,
        }  # fmt: skip

    def fill(self, quorum: int = 1, *, repair: bool = False, min_verdicts: int = 1) -> None:
        """The expected answer after the vote; where it is another, all is compared again."""
        self.vote(quorum)
        winner = self.majority["answer"]
        verdicts = Counter(one.verdict for one in self.samples)
        disagree = verdicts["incorrect"]
        if self.expected is None:
            self.action = "no_consensus" if winner is None else "filled"
        elif not repair or verdicts["correct"]:
            self.action = "kept"
        elif disagree < min_verdicts:
            self.action = "too_few_verdicts"
        elif winner is None:
            self.action = "no_consensus"
        else:
            self.action = "kept" if value(winner) == value(self.expected) else "repaired"
        if self.action in ("filled", "repaired"):
            self.expected = winner
            self.compare()

    def count(self, asked: int) -> None:
        """The pass rate, of so many samples that were asked for."""
        for one in self.samples:
            one.pass_rate = pass_rate(self.samples, asked)

    def rows(self) -> dict[str, dict[str, Any]]:
        """What a stage says of each sample, as `told` tells it."""
        ballots = sorted((one.id, one.answer) for one in self.samples)
        return {
            one.id: {
                "predicted_answer": one.answer,
                "expected_answer": self.expected,
                "verdict": one.verdict,
                "judged_by": one.judged_by,
                "judge_calls": one.judge_calls,
                "original_answer": self.original,
                "action": self.action,
                "majority": self.majority,
                "ballots": ballots,
                "pass_rate": one.pass_rate,
            }
            for one in self.samples
        }


def pass_rate(samples: Sequence[Sample], asked: int) -> float | None:
    """The share of correct ones of those that were asked for and are not beyond judgement."""
    said = Counter(one.verdict for one in samples)
    if not said["correct"] + said["incorrect"] + said["no_answer"]:
        return None
    return round(said["correct"] / (asked - said["unjudged"] - said["no_expected_answer"]), 6)


def told(judged: Mapping[str, Any]) -> dict[str, Any]:
    """A judged solution, as a stage has it, in the shape of `Solved.rows`."""
    agreed = judged["agreed"]
    assert agreed["repair"]["answer"] == judged["expected_answer"]
    return {
        "predicted_answer": judged["solution"]["predicted_answer"],
        **{name: judged[name] for name in ("expected_answer", "verdict", "judged_by", "pass_rate")},
        "judge_calls": len(judged["judge_calls"]),
        "original_answer": agreed["repair"]["original_answer"],
        "action": agreed["repair"]["action"],
        "majority": agreed["majority"],
        "ballots": [(each["solution_id"], each["answer"]) for each in agreed["ballots"]],
    }


def solutions(
    problem: Mapping[str, Any],
    numbers: range,
    rejects: Rejected,
    ask: str = "generate_solutions",
    engine: Rehearsal = FAULTLESS,
) -> list[Sample]:
    """The planned solutions of a problem without Python; those that are lost are rejects."""
    made = generator("math/solution")
    found = []
    for number in numbers:
        lost, rng = draws(engine, ask, "math/solution", problem["id"], number)
        if lost:
            rejects.add((ask, problem["id"], number, lost))
            continue
        answer = made.plan_of(problem["text"], rng).answer()
        found.append(Sample(f"{problem['id']}-{number}", answer, answer))
    return found


@dataclasses.dataclass
class WithPython:
    """A planned solution with Python: what a filter must find wrong with it, or ""."""

    sample: Sample
    fault: str
    worth: str


def solutions_with_python(
    problem: Mapping[str, Any], numbers: range, ask: str = "generate_solutions"
) -> list[WithPython]:
    """The planned solutions of a problem with Python."""
    made = generator("tir/solution")
    found = []
    for number in numbers:
        _, rng = draws(FAULTLESS, ask, "tir/solution", problem["id"], number)
        plan = made.plan_of(rng)
        shown = python_numbers(problem["text"], rng)
        answer: int | None = python_answer(shown)
        text: Any = (plan, shown)
        if plan.fault in ("no_final_answer", "too_many_executions"):
            answer = None
        elif plan.fault == "incomplete_execution":
            answer = 1
        elif plan.fault == "no_code":
            answer, text = sum(shown), shown
        elif plan.fault == "no_fragment":  # each call fails, and is the same
            answer = sum(shown) + made._OFFSET
            text = (plan.fault, plan.worth == "verification", plan.blocks, shown)
        said = None if answer is None else str(answer)
        one = Sample(f"{problem['id']}-{number}", said, text)
        found.append(WithPython(one, plan.fault, plan.worth))
    return found


def python_numbers(text: str, rng: random.Random) -> tuple[int, ...]:
    """Those that a rehearsed solution adds up; of a problem without any they are drawn."""
    numbers = [int(number) for number in re.findall(r"\b\d{1,6}\b", text)][:6]
    return tuple(numbers or [rng.randint(2, 99), rng.randint(2, 99)])


def python_answer(numbers: Sequence[int]) -> int:
    """What the code prints."""
    return sum(numbers) + (1 + len(numbers)) * int(generator("tir/solution")._OFFSET)


def unfit(verdict: str) -> str:
    """The reason for which the filters drop a solution with this verdict, or ""."""
    if verdict in ("unjudged", "no_expected_answer"):
        return "unlabeled"
    return "" if verdict == "correct" else "incorrect"


def unlike(traces: Iterable[tuple[str, Any]]) -> tuple[set[str], set[str]]:
    """The ids of (id, content) that stay, and of those that are the same as one with a smaller."""
    stay: dict[Any, str] = {}
    same = set()
    for of, content in sorted(traces, key=lambda each: each[0]):
        if content in stay:
            same.add(of)
        else:
            stay[content] = of
    return set(stay.values()), same


def stage_rows(output: Path, stage: str) -> dict[str, dict[str, Any]]:
    """The rows of a published stage, by id, of which none is there twice."""
    paths = sorted(output.glob(f".work/stages/{stage}/*/rows-*.parquet"))
    assert paths, stage
    rows = [row for path in paths for row in pq.read_table(path).to_pylist()]
    found = {row["id"]: row for row in rows}
    assert len(found) == len(rows)
    return found


def dataset_rows(output: Path, split: str = "train") -> dict[str, dict[str, Any]]:
    """The rows of a split of the dataset, by id, of which none is there twice."""
    paths = sorted(output.glob(f"data/{split}-*.parquet"))
    rows = [row for path in paths for row in pq.read_table(path).to_pylist()]
    found = {row["id"]: row for row in rows}
    assert len(found) == len(rows)
    return found


def rejected(output: Path, *stages: str) -> Rejected:
    """The rejects of these stages, or of all."""
    rows = [
        row
        for path in sorted(output.glob("rejects/*.parquet"))
        for row in pq.read_table(path).to_pylist()
        if not stages or row["stage"] in stages
    ]
    found = {(row["stage"], row["id"], row["sample"], row["reason"]) for row in rows}
    assert len(found) == len(rows)
    return found


def files_of(output: Path) -> dict[str, bytes]:
    """The data files and rejects of a run: their bytes by their path."""
    paths = sorted([*output.glob("data/*"), *output.glob("rejects/*")])
    assert paths
    return {str(path.relative_to(output)): path.read_bytes() for path in paths}


def problems(usually: int) -> int:
    """How many problems a recipe's test takes: BEAM_SDG_PROBLEMS of them, or as many as usual."""
    return int(os.environ.get("BEAM_SDG_PROBLEMS", usually))


def write_problems(data: Path, to: Path, count: int, answer: Any) -> list[str]:
    """Write GSM8K's first problems, and for those of each third another kind of answer; the flags.

    The first third has GSM8K's own, the second `answer(text, number)`, the last none.
    """
    lines = (data / "gsm8k" / "test.jsonl").read_text().splitlines()[:count]
    rows = [json.loads(line) for line in lines]
    with to.open("w") as file:
        for number, row in enumerate(rows):
            text = row["question"]
            planned = f"#### {answer(text, number)}"
            said = (row["answer"], planned, None)[number % 3]
            file.write(json.dumps({"problem": text, "answer": said}) + "\n")
    return [
        f"--problems={to}", "--answer_column=answer", "--answer_pattern=^#### (.*)$",
        f"--num_records={count}",
    ]  # fmt: skip
