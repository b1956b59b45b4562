"""Rehearsed extractions: the numbered items of a post, or all of one that asks something.

Most are JSON, as they are asked for. Some are in the published text format, plain or dressed up.
"""

import json
import random
import re
from collections.abc import Mapping, Sequence

from prompts import tagged

# How an extraction is written, and about how often; the rest is JSON.
FORMS = {"text": 0.12, "dressed": 0.12}
_ITEM = re.compile(r"^(?:\[[^\]\n]*\]|[*_ \t])*(\d{1,2})[.)](?=[\s\[*])", re.MULTILINE)
_ASKS = re.compile(
    r"\?|\b(?:prove|show|find|determine|compute|calculate|evaluate|solve|simplify|how many)\b",
    re.IGNORECASE,
)
_MARKS = re.compile(r"\[/?[A-Za-z]+(?:=[^\]\n]*)?\]")


def problems_in(post: str) -> list[str]:
    """The truth: the post's items 1, 2, …, or else the post, if it asks something."""
    items = [item for item in _ITEM.finditer(post)]
    numbers = [int(item[1]) for item in items]
    if len(items) > 1 and numbers == list(range(1, len(items) + 1)):
        ends = [*(item.start() for item in items[1:]), len(post)]
        found = [post[item.end() : end] for item, end in zip(items, ends, strict=True)]
    else:
        found = [post] if _ASKS.search(post) else []
    stripped = [_MARKS.sub("", problem).strip() for problem in found]
    return [problem for problem in stripped if problem]


def form_of(rng: random.Random) -> str:
    """How the extraction whose draws these are is written; the first draw of all."""
    draw = rng.random()
    for form, share in FORMS.items():
        draw -= share
        if draw < 0:
            return form
    return "json"


def rehearse(messages: Sequence[Mapping[str, str]], rng: random.Random) -> str:
    """The problems, as JSON or behind markers."""
    problems, form = problems_in(tagged(messages, "forum_post")), form_of(rng)
    if form == "json":
        return json.dumps({"problems": problems})
    if not problems:
        return "No problems identified." if form == "text" else "**No problems were found.**"
    marker = "Problem {}:\n" if form == "text" else "**Problem {}:** "
    listed = [marker.format(number) + text for number, text in enumerate(problems, start=1)]
    preface = "" if form == "text" else "This is what the post asks:\n\n"
    return preface + "\n\n".join(listed)
