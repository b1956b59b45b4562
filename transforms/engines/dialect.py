"""What a server does not take: parameters to leave out or to call by another name.

    name                     what it changes
    max_completion_tokens    `max_tokens` is sent under this name
    no_seed, no_stop, …      the parameter is left out

Names are given in the settings. Those that leave the meaning of answers alone are also learned,
from a server that refuses a request and says why.
"""

import logging
import re
from collections.abc import Collection, Iterable
from typing import Any, Literal, get_args

from transforms.engines.completions import error_of

_log = logging.getLogger(__name__)

DialectName = Literal[
    "max_completion_tokens",
    "no_chat_template_kwargs",
    "no_min_p",
    "no_reasoning_effort",
    "no_repetition_penalty",
    "no_response_format",
    "no_seed",
    "no_stop",
    "no_structured_outputs",
    "no_temperature",
    "no_top_k",
    "no_top_p",
]
_LEFT_OUT = {
    name.removeprefix("no_"): name for name in get_args(DialectName) if name.startswith("no_")
}
_ADAPTED = {"max_tokens": "max_completion_tokens", **_LEFT_OUT}
# The others change what is sampled.
_LEARNED = {"max_tokens", "response_format", "seed", "structured_outputs"}
_REFUSED = (400, 422)
_CODES = {"unsupported_parameter", "unknown_parameter"}
_ONLY_DEFAULT = re.compile(r"\bonly the default\b", re.IGNORECASE)
_QUOTED = r"(?<![\w.])['\"`]?{}['\"`]?"
_REFUSALS = (
    r"\b(?:unknown|unsupported|unrecognized|unexpected|extra)(?: request| keyword| body)?"
    r" (?:parameter|field|argument|property|key|input)(?:s|\(s\))?(?: supplied| name)?:? ?"
    r"{name}(?![\w-])",
    r"{name} (?:does not|doesn't) support .*\bonly the default\b",
    r"{name}(?: parameter| field| argument)?(?: of type ['\"`]?\w+['\"`]?)?(?: type)?"
    r" (?:is|are) (?:not (?:yet |currently )?(?:supported|permitted|allowed|available|recognized)"
    r"|unsupported|unavailable|unknown|unrecognized)\b"
    r"(?![^.;]*\b(?:above|below|over|under|beyond|outside|than|between|must|to be|values?)\b)",
    r"\b(?:does not|doesn't|do not|don't|cannot|can't) (?:yet |currently )?support"
    r" (?:the )?(?:parameter |field |argument )?{name}(?=$|[.,;)]| parameter| field| argument)",
    r"'loc': [\[(]'body', {name}[^\])]*[\])], 'msg': 'extra (?:inputs are|fields) not permitted",
)


def _patterns(parameter: str) -> re.Pattern[str]:
    spelled = "(?:response_format|json_schema)" if parameter == "response_format" else parameter
    name = _QUOTED.format(spelled)
    return re.compile("|".join(r.replace("{name}", name) for r in _REFUSALS), re.IGNORECASE)


_SAYS_SO = {parameter: _patterns(parameter) for parameter in _ADAPTED}


def refused_parameter(status: int, sent: Collection[str], content: bytes) -> str | None:
    """The parameter that a response says the server does not take; None if it does not.

    Only what was sent and can be done without is looked for, and only where the server names it
    as unknown or unsupported: by OpenAI's error code, in pydantic's words, or in a sentence. One
    whose value is refused is not taken if all values but the default are; a schema is no default.
    """
    if status not in _REFUSED:
        return None
    error = error_of(content)
    named = str(error.get("param") or "").split(".")[0]
    is_refused = error.get("code") in _CODES or (
        error.get("code") == "unsupported_value"
        and (named == "response_format" or _ONLY_DEFAULT.search(error["message"]))
    )
    if is_refused and named in _ADAPTED and named in sent:
        return named
    for parameter, says_so in _SAYS_SO.items():
        if parameter in sent and says_so.search(error["message"]):
            return parameter
    return None


class Dialect:
    """The dialect of one endpoint: begins with what is known and learns from refusals."""

    def __init__(self, known: Iterable[DialectName]) -> None:
        self._names: set[str] = set(known)

    def spoken(self, body: dict[str, Any]) -> dict[str, Any]:
        """A request's body in this dialect."""
        if not self._names:
            return body
        spoken = {name: value for name, value in body.items() if not self._leaves_out(name)}
        if "max_completion_tokens" in self._names and "max_tokens" in spoken:
            spoken["max_completion_tokens"] = spoken.pop("max_tokens")
        return spoken

    def learns_from(self, status: int, sent: Collection[str], content: bytes) -> bool:
        """Whether a response says that something sent is not taken: then another try differs.

        What changes the answers is not learned.
        """
        parameter = refused_parameter(status, sent, content)
        if parameter not in _LEARNED:
            return False
        name = _ADAPTED[parameter]
        if name not in self._names:
            self._names.add(name)
            _log.info("the server does not take %s: going on as with --dialect %s", parameter, name)
        return True

    def _leaves_out(self, parameter: str) -> bool:
        return _LEFT_OUT.get(parameter) in self._names
