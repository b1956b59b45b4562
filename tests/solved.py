"""The real solutions of four models to GSM8K's problems, with their published labels, as rows."""

import gzip
import json
import re
from pathlib import Path
from typing import Any

MODELS = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")
_ANSWER = re.compile(r"^A: (.*)$", re.MULTILINE)


def judged_rows(data: Path, problems: int | None = None) -> list[dict[str, Any]]:
    """Four rows for each problem, under the published names of columns.

    The line with the answer is written as a box; a solution that was cut off before it has none.
    """
    with gzip.open(data / "gsm8k" / "model_solutions.jsonl.gz", "rt") as file:
        solved = [json.loads(line) for line in file][:problems]
    found = []
    for number, row in enumerate(solved):
        for model in MODELS:
            text = row[model]["solution"]
            answer = (_ANSWER.findall(text) or [None])[-1]
            found.append({
                "id": f"{number}-{model}",
                "problem": row["question"],
                "generation": _ANSWER.sub(lambda line: rf"\boxed{{{line[1]}}}", text),
                "expected_answer": _ANSWER.findall(row["ground_truth"])[-1],
                "predicted_answer": answer,
                "symbolic_correct": row[model]["is_correct"],
            })  # fmt: skip
    return found
