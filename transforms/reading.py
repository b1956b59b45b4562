"""From a model's text to a value: how an answer is read, and what is wrong with one that cannot be.

A reader is tolerant of the wrapping (reasoning, prose, code fences) and of how the JSON is written,
and strict about the content.
"""

import dataclasses
import functools
import re
from collections.abc import Callable, Mapping
from typing import Any, Generic, Protocol, TypeVar

from transforms.codec import adapter, well_formed
from transforms.constraint import Constraint
from transforms.fitting import MisfitError, Shape
from transforms.json_answers import Found, json_values

V = TypeVar("V")
V_co = TypeVar("V_co", covariant=True)
# How models mark the reasoning that a server has not taken out of the answer.
_REASONING_BEGINS = re.compile(
    r"\s*(?:<(?:think|thinking|thought|reasoning)>|\[THINK\]|◁think▷|<\|channel\|>analysis)"
)
_REASONING_ENDS = re.compile(
    r"</(?:think|thinking|thought|reasoning)>|\[/THINK\]|◁/think▷|<\|channel\|>final<\|message\|>"
)
_INVISIBLE = "\ufeff\u200b\u2060"
_shape: Callable[[Any], Shape[Any]] = functools.cache(Shape)


@dataclasses.dataclass(frozen=True, slots=True)
class Fault:
    """Why an answer is no use: a word for reports and a sentence for the model and for people."""

    reason: str
    detail: str


class Reader(Protocol[V_co]):
    """How one kind of answer is read."""

    def read(self, text: str) -> V_co | Fault:
        """The value in `text`, or what is wrong with it; never an exception."""
        ...

    def constraint(self) -> Constraint | None:
        """What an engine can hold the answer to, or None for free text."""
        ...


@dataclasses.dataclass(frozen=True)
class Text:
    """An answer that is any text but none at all."""

    def read(self, text: str) -> str | Fault:
        """The text without surrounding white space, its reasoning included.

        `empty_answer` where nothing is left of it, or nothing but reasoning.
        """
        whole = well_formed(text).strip()
        answer = _answer(whole)
        return answer if isinstance(answer, Fault) else whole

    def constraint(self) -> Constraint | None:
        """Free text has none."""
        return None


@dataclasses.dataclass(frozen=True)
class Conclusion(Text):
    """Any text but none at all, without the marked reasoning before it."""

    def read(self, text: str) -> str | Fault:
        """What follows the reasoning, without surrounding white space; or `empty_answer`."""
        answer = _answer(well_formed(text))
        return answer if isinstance(answer, Fault) else answer.strip()


@dataclasses.dataclass(frozen=True)
class Grammar(Text):
    """An answer in a language of its own, for engines that hold it to a grammar.

    It is read as text: what else there is to check is the ask's.

    Args:
        grammar: in the engine's EBNF, with a rule called root.
    """

    grammar: str = ""

    def constraint(self) -> Constraint:
        """The grammar."""
        return Constraint("grammar", self.grammar)


@dataclasses.dataclass(frozen=True)
class Choice:
    """An answer that is one of a few words.

    Case, quotation marks, emphasis and a final full stop do not count; of an answer with more to
    it, the last line does, without a label such as `Verdict:`.

    Args:
        options: the words; no two of them differ in case alone.
        reasons: whether the model is to reason before it answers: then engines that can hold an
            answer to the options must not, since nothing else would fit into it.
    """

    options: tuple[str, ...]
    reasons: bool = False

    def __post_init__(self) -> None:
        if len({_bare(option) for option in self.options}) < max(2, len(self.options)):
            raise ValueError(f"{self.options} are not two or more different options")

    def read(self, text: str) -> str | Fault:
        """The option, as it is spelled in `options`; or `malformed_answer`, or `empty_answer`."""
        answer = _answer(well_formed(text))
        if isinstance(answer, Fault):
            return answer
        known = {_bare(option): option for option in self.options}
        line = _last_line(answer)
        for candidate in (answer, line, line.rpartition(":")[2]):
            if (option := known.get(_bare(candidate))) is not None:
                return option
        shown = " ".join(line.split())[:80]
        return Fault("malformed_answer", f"{shown!r} is none of: {', '.join(self.options)}")

    def constraint(self) -> Constraint | None:
        """The options; None of an answer with reasoning before it."""
        return None if self.reasons else Constraint("choice", list(self.options))


@dataclasses.dataclass(frozen=True)
class Labelled(Choice):
    """An answer that is one of a few words, behind a label such as `Judgement:`.

    The first word behind the last label counts, whatever follows it; without a label, as `Choice`.

    Args:
        label: a regular expression, of which case does not count.
    """

    label: str = ""

    def read(self, text: str) -> str | Fault:
        """As `Choice`."""
        answer = _answer(well_formed(text))
        words = {_bare(option): option for option in self.options}
        found = re.findall(
            rf"\b{self.label}\W*?:\W*(?:boxed\W*)?({'|'.join(map(re.escape, words))})\b",
            answer if isinstance(answer, str) else "",
            re.IGNORECASE,
        )
        return words[_bare(found[-1])] if found else super().read(text)


@dataclasses.dataclass(frozen=True)
class Pattern:
    """An answer that a regular expression matches whole, or else its last line.

    Args:
        regex: in the words that Python and the engines share: no look-around, no back-references.
    """

    regex: str

    def __post_init__(self) -> None:
        re.compile(self.regex)

    def read(self, text: str) -> str | Fault:
        """What was matched, without white space around it; or `malformed_answer`."""
        answer = _answer(well_formed(text))
        if isinstance(answer, Fault):
            return answer
        for candidate in (answer.strip(), _last_line(answer)):
            if re.fullmatch(self.regex, candidate):
                return candidate
        shown = " ".join(_last_line(answer).split())[:80]
        return Fault("malformed_answer", f"{shown!r} does not match {self.regex}")

    def constraint(self) -> Constraint:
        """The expression."""
        return Constraint("regex", self.regex)


@dataclasses.dataclass(frozen=True)
class Structured(Generic[V]):
    """An answer that is one JSON object of a record's type.

    Reasoning that is marked as such is not looked at. Of several objects the last that fits the
    type is taken, since a model that thinks aloud concludes at the end; but where the text ends
    within an object, no earlier one is.

    Args:
        record_type: what the object becomes.
        items: how many items a list of it must have, by its name, for engines that hold an answer
            to its schema; another number is left to the ask's check.
    """

    record_type: type[V]
    items: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def read(self, text: str) -> V | Fault:
        """The record; or `malformed_answer` with the first few violations, or `empty_answer`.

        It runs where other requests wait: microseconds for an answer that is clean.
        """
        answer = text if text.lstrip().startswith("{") else _answer(text)
        if isinstance(answer, Fault):
            return answer
        found = json_values(answer)
        misfit: MisfitError | None = None
        for value in reversed(found.values):
            try:
                return _shape(self.record_type).record(value, found.stray_backslashes)
            except MisfitError as error:
                if misfit is None or (error.is_close and not misfit.is_close):
                    misfit = error
        return Fault("malformed_answer", _detail(found, misfit))

    def schema(self) -> dict[str, Any]:
        """The type's JSON schema, closed: every property required, no others allowed."""
        closed = _closed(adapter(self.record_type).json_schema())
        for name, number in self.items.items():
            closed["properties"][name] |= {"minItems": number, "maxItems": number}
        return closed

    def constraint(self) -> Constraint:
        """The schema."""
        return Constraint("json_schema", self.schema())


def _last_line(answer: str) -> str:
    return answer.strip().splitlines()[-1].strip()


def _bare(word: str) -> str:
    return word.strip().strip("*_`'\"“”‘’.").strip().casefold()


def _answer(text: str) -> str | Fault:
    """What follows the marked reasoning, all of `text` if there is none; or `empty_answer`."""
    ends = [end.end() for end in _REASONING_ENDS.finditer(text)]
    answer = text[ends[-1] :] if ends else text
    is_empty = not answer.strip().strip(_INVISIBLE)
    if _REASONING_BEGINS.match(answer) or (ends and is_empty):
        return Fault("empty_answer", "the answer is reasoning only")
    return Fault("empty_answer", "the answer is empty") if is_empty else answer


def _detail(found: Found, misfit: MisfitError | None) -> str:
    """The most telling thing that is wrong with an answer of which no value fits."""
    if misfit and misfit.is_close:
        return str(misfit)
    if found.is_cut:
        return "it ends in the middle of the JSON object"
    return found.broken or str(misfit or "there is no JSON object in it")


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    """`schema` with every object closed, as servers with strict structured output ask for."""
    closed = {key: value for key, value in schema.items() if key != "default"}
    for key in ("properties", "$defs"):
        if key in closed:
            closed[key] = {name: _closed(part) for name, part in closed[key].items()}
    if "items" in closed:
        closed["items"] = _closed(closed["items"])
    if "anyOf" in closed:
        closed["anyOf"] = [_closed(part) for part in closed["anyOf"]]
    if "properties" in closed:
        closed |= {"additionalProperties": False, "required": list(closed["properties"])}
    return closed
