"""A rehearsed choice: one of the candidates, word for word."""

import json
import random
import re
from collections.abc import Mapping, Sequence

_CANDIDATE = re.compile(
    r"<candidate number=\"\d+\">\n<added_concepts>\n(.*?)\n</added_concepts>\n"
    r"<problem>\n(.*?)\n</problem>\n</candidate>",
    re.DOTALL,
)


def rehearse(messages: Sequence[Mapping[str, str]], rng: random.Random) -> str:
    """The chosen candidate with a reason."""
    concepts, problem = rng.choice(_CANDIDATE.findall(messages[1]["content"]))
    reasoning = "It reaches the goal best and reads well."
    chosen = {"added_concepts": concepts, "problem": problem, "reasoning": reasoning}
    return json.dumps(chosen, ensure_ascii=False)
