"""Rehearsed candidates: obfuscation keeps the whole base problem, complication only its theme."""

import json
import random
from collections.abc import Mapping, Sequence

from prompts import tagged

_SETTINGS = (
    *("a survey station", "a freight yard", "an orbiting lab", "a seed bank"),
    *("a tide gauge", "a bell foundry", "a paper mill", "a lighthouse"),
)


def rehearse(messages: Sequence[Mapping[str, str]], rng: random.Random) -> str:
    """A list of as many new problems as the prompt asks for."""
    instructions = messages[1]["content"].rsplit("</problem_b>", 1)[1]
    base, lent = tagged(messages, "problem_a"), tagged(messages, "problem_b")
    wanted = int(instructions.split("Then write ")[1].split()[0])
    obfuscate = "The goal is obfuscation." in instructions
    words = sorted({word for word in lent.split() if word.isalpha() and len(word) > 3})
    problems = []
    for number, setting in enumerate(rng.sample(_SETTINGS, wanted), start=1):
        concepts = ", ".join(rng.sample(words, min(3, len(words)))) or "measurement"
        if obfuscate:
            text = f"The staff of {setting} keep records of {concepts}.\n\n{base}"
        else:
            theme = " ".join(word for word in base.split()[:12] if word.isalpha())
            text = (
                f"At {setting}, variant {number} of a known task ({theme}) is made harder: each "
                f"step must also respect a limit that depends on {concepts}. "
                "Find the best plan and prove that it is the best."
            )
        problems.append({"added_concepts": concepts, "problem": text})
    return json.dumps({"problems": problems}, ensure_ascii=False)
