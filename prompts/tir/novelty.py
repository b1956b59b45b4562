"""A rehearsed judgement: code that is said to check something verifies, all other is novel.

Where the text says "not sure", judges draw; what "nobody can judge" has no judgement.
"""

import random
import re
from collections.abc import Mapping, Sequence

from prompts import tagged

_CHECKS = re.compile(r"\b(?:check|verif|confirm|make sure)", re.IGNORECASE)


def rehearse(messages: Sequence[Mapping[str, str]], rng: random.Random) -> str:
    """A sentence and the judgement."""
    fragment = tagged(messages, "fragment")
    if "nobody can judge" in fragment:
        return "That cannot be told."
    if "not sure" in fragment:
        return _judgement(rng.random() < 0.5)
    return _judgement(not _CHECKS.search(fragment))


def _judgement(is_novel: bool) -> str:
    if is_novel:
        return "Only the call gives the value that is needed.\nJudgement: novel"
    return "The value was there before the call.\nJudgement: verification"
