"""A rehearsed judgement: the more a fragment loops, imports and defines, the more it spares.

Where the text says "not sure", judges draw; what "nobody can judge" has no judgement.
"""

import random
import re
from collections.abc import Mapping, Sequence

from prompts import tagged

_WORK = re.compile(r"^\s*(?:for|while|def|import|from) .*", re.MULTILINE)
_LABELS = ("trivial", "moderate", "significant")


def rehearse(messages: Sequence[Mapping[str, str]], rng: random.Random) -> str:
    """A sentence and the judgement."""
    fragment = tagged(messages, "fragment")
    if "nobody can judge" in fragment:
        return "That cannot be told."
    lines = len(_WORK.findall(fragment))
    label = rng.choice(_LABELS) if "not sure" in fragment else _LABELS[min(lines, 2)]
    return f"By hand one would work through the {lines} steps of it.\nSignificance: {label}"
