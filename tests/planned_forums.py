"""What must come out of rehearsed stages over threads, worked out anew, as in `tests.planned`.

Of the product nothing is used but seeds, fates and the plans of its rehearsals.

    plan = Plan(engine, votes=3, converts=True)
    plan.take(threads)          # of the stage `threads`
    plan.kept, plan.rejects     # the problems in the end, and every reject of every stage
"""

import dataclasses
import html
import json
import random
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from tests.planned import FAULTLESS, Rejected, generator
from transforms.engines.rehearsal import FAILING, MALFORMED, Rehearsal
from transforms.seeding import digest, sampling_seed, stream

CLASSES = ("proof", "mcq", "binary", "invalid")
LOST = {MALFORMED: "malformed_answer", FAILING: "request_refused"}
TYPES = ("has_answer_extracted", "no_answer_extracted", "converted_proof")
TALK = "said aloud"  # in each reply: what no stage after the answers may have


@dataclasses.dataclass
class Extracted:
    """A problem on its way."""

    id: str
    thread: Mapping[str, Any]
    text: str
    answer: str | None = None
    kind: str = ""
    original: str | None = None


@dataclasses.dataclass
class Plan:
    """All stages from threads on, and what becomes of every row."""

    engine: Rehearsal = FAULTLESS
    votes: int = 1
    converts: bool = False
    rejects: Rejected = dataclasses.field(default_factory=set)
    merged: list[Extracted] = dataclasses.field(default_factory=list)
    kept: dict[str, Extracted] = dataclasses.field(default_factory=dict)

    def take(self, threads: Iterable[Mapping[str, Any]]) -> None:
        """Every thread, through all stages."""
        for thread in threads:
            for problem in self._extracted(thread):
                self._follow(problem)
        self._merge()

    def _asked(self, ask: str, prompt: str, of: str, sample: int = 0) -> random.Random | None:
        """The draws of an answer; None where it is lost, which is a reject."""
        prompt = f"forums/{prompt}"
        seed = sampling_seed(0, ask, of, sample)
        lost = LOST.get(self.engine.fate(prompt, seed), "")
        if lost:
            self.rejects.add((ask, of, sample, lost))
            return None
        return stream("rehearsal", self.engine.seed, prompt, seed)

    def _extracted(self, thread: Mapping[str, Any]) -> list[Extracted]:
        if self._asked("extract_problems", "extract_problems", thread["id"]) is None:
            return []
        found = generator("forums/extract_problems").problems_in(thread["post"])
        texts = []
        for text in found:
            if " ".join(text.split()) not in [" ".join(other.split()) for other in texts]:
                texts.append(text)
        if not texts:
            self.rejects.add(("extract_problems.split", thread["id"], 0, "no_problem"))
        return [Extracted(f"{thread['id']}-{n}", thread, text) for n, text in enumerate(texts)]

    def _class_of(self, problem: Extracted, chain: str, classes: Iterable[str] = CLASSES) -> str:
        """What a problem is called by the votes, one class after the other; "" where nothing."""
        for name in classes:
            asked = f"{chain}_{name}"
            balance = 0
            for sample in range(self.votes):
                rng = self._asked(asked, f"classify_{name}", problem.id, sample)
                if rng is not None:
                    said = generator(f"forums/classify_{name}").vote_of(problem.text, rng)
                    balance += 1 if said else -1
            if balance >= 0:
                return name if balance else f"unclassified {name}"
        return ""

    def _removed(self, problem: Extracted, chain: str, called: str) -> None:
        reason, _, at = called.partition(" ")
        self.rejects.add((f"{chain}_{at or reason}.no", problem.id, 0, reason))

    def _follow(self, problem: Extracted) -> None:
        called = self._class_of(problem, "classify_problems")
        if called == "proof" and self.converts:
            self._convert(problem)
        elif called:
            self._removed(problem, "classify_problems", called)
        else:
            self._answer(problem)

    def _answer(self, problem: Extracted) -> None:
        ask = made = "extract_answers"
        rng = self._asked(ask, made, problem.id)
        if rng is None:
            return
        generated = generator("forums/extract_answers")
        if generated.fault_of(rng) == "prose":
            self.rejects.add((ask, problem.id, 0, "prose_answer"))
            return
        problem.answer = generated.truth(problem.thread["discussion"])
        problem.kind = TYPES[problem.answer is None]
        self.merged.append(problem)

    def _convert(self, problem: Extracted) -> None:
        rng = self._asked("convert_proofs", "convert_proofs", problem.id)
        if rng is None:
            return
        plan = generator("forums/convert_proofs").plan_of(problem.text, rng)
        if plan.fault == "unchanged":
            self.rejects.add(("convert_proofs", problem.id, 0, "unchanged"))
            return
        made = dataclasses.replace(
            problem, text=plan.problem, answer=plan.answer, kind=TYPES[2], original=problem.text
        )
        if called := self._class_of(made, "classify_converted"):
            self._removed(made, "classify_converted", called)
        else:
            self.merged.append(made)

    def _merge(self) -> None:
        equal = defaultdict(list)
        for problem in self.merged:
            equal[" ".join(problem.text.split())].append(problem)
        for problems in equal.values():
            first, *others = sorted(problems, key=lambda one: (TYPES.index(one.kind), one.id))
            self.kept[digest("problem", digest("text", first.text), 0)] = first
            self.rejects |= {("merge_data", other.id, 0, "duplicate") for other in others}


def plain(a: int, b: int) -> str:
    """A problem that no class has."""
    return f"Find how many of the {a} boats have fewer than {b} sails."


def written_threads(count: int) -> list[dict[str, Any]]:
    """Threads of all kinds, some of which state a problem that another one states."""
    rng = random.Random(1)
    rows = []
    for number in range(count):
        a, b = rng.randint(2, 9), rng.randint(2, 9)
        plain_one = plain(a, b)
        proof = f"Prove that $x^{b} + {a}$ has at most {b} roots, as asked in round {number}."
        mcq = f"Compute {a} times {b}. (A) {a * b} (B) {a + b} (C) {a - b}"
        binary = f"We add {a} and {b}. Is the sum of round {number} even?"
        post = (
            plain_one,
            f"Hello from round {number}!\n1. {plain_one}\n[b]2.[/b] {proof}\n3) {binary}",
            proof,
            mcq,
            binary,
            f"Find the area in the figure of round {number}, with sides {a} and {b}.",
            f"It was good to meet {a} of you in round {number}.",
            f"{plain_one} It was asked in round {number}, and one more time: {plain_one}",
            f"1. {plain_one}\n2. {plain_one}\n3. Evaluate ${a}^{{{b}}}$ for round {number}.",
        )[rng.randrange(9)]
        replies = (
            [f"I get {a}, {TALK}.", f"No, the answer is ${a + b}$."],
            [f"What does it mean, {TALK}?"],
            [f"So $\\boxed{{{a * b}}}$, {TALK}."],
            [],
        )[rng.randrange(4)]
        talk = "\n\n".join(f"Post {n}:\n{reply}" for n, reply in enumerate(replies, start=1))
        rows.append({"id": number, "forum_post": post, "forum_discussions": talk})
    return rows


def dump_of(rows: Iterable[Mapping[str, Any]]) -> str:
    """The same as the posts of a Stack Exchange dump, whose titles are all different."""
    posts = ['<?xml version="1.0" encoding="utf-8"?>', "<posts>"]
    for row in rows:
        question = len(posts) - 1
        kind = f'PostTypeId="1" Title="Boats, round {row["id"]}"'
        posts.append(_post(question, kind, row["forum_post"]))
        for reply in filter(None, re.split(r"\n*Post \d+:\n", row["forum_discussions"])):
            kind = f'PostTypeId="2" ParentId="{question}"'
            posts.append(_post(len(posts) - 1, kind, reply))
    return "\n".join([*posts, "</posts>", ""])


def _post(number: int, kind: str, text: str) -> str:
    body = html.escape("".join(f"<p>{html.escape(line)}</p>\n" for line in text.splitlines()))
    day = f'CreationDate="2016-03-04T05:06:07.89" OwnerUserId="{number % 99}" Score="1"'
    return f'  <row Id="{number}" {kind} {day} Body="{body}" />'.replace("\n", "&#xA;")


def lines(rows: Iterable[Mapping[str, Any]]) -> str:
    """The rows as a file of JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in rows)
