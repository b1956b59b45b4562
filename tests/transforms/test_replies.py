"""Replies in the manner of real models, and what must become of each.

`replies/` has one file per family. A reply begins with a line of "======" and its name, then come

    type: the record that is asked for
    reads: the value, as JSON                 or    fault: a part of the fault's detail
    reason: the fault's (malformed_answer if left out)
    drafts: how many complete answers that are not the last stand before it (0 if left out)

then an empty line, and then the reply, byte for byte, up to the line break before the next
"======".
"""

import dataclasses
import json
from pathlib import Path

import pytest

from transforms import records
from transforms.codec import from_row
from transforms.reading import Fault, Structured

FOLDER = Path(__file__).parent / "replies"


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    text: str
    type: str
    reads: str = ""
    fault: str = ""
    reason: str = "malformed_answer"
    drafts: str = "0"

    @property
    def reader(self) -> Structured:
        return Structured(getattr(records, self.type))

    @property
    def value(self) -> object:
        return from_row(getattr(records, self.type), json.loads(self.reads))


def cases_of(file: Path) -> list[Case]:
    """The replies of a family; a line of the head that is unknown is a TypeError."""
    before, *sections = f"\n{file.read_bytes().decode()}".split("\n====== ")
    assert not before, f"{file.name} does not begin with a line of ======"
    cases = []
    for section in sections:
        head, _, text = section.partition("\n\n")
        name, *lines = head.split("\n")
        fields = dict(line.split(": ", 1) for line in lines)
        cases.append(Case(f"{file.stem}: {name}", text, **fields))
    return cases


FILES = sorted(FOLDER.iterdir())
CASES = [case for file in FILES for case in cases_of(file)]
READABLE = [case for case in CASES if case.reads]


def names(case: Case) -> str:
    return case.name


def test_every_file_has_replies_and_every_reply_a_name_of_its_own_and_one_outcome():
    """No file in the folder is passed over, and no reply is without an expectation."""
    assert {case.name.partition(":")[0] for case in CASES} == {file.stem for file in FILES}
    assert len({case.name for case in CASES}) == len(CASES) >= 40
    assert [case.name for case in CASES if bool(case.reads) == bool(case.fault)] == []


@pytest.mark.parametrize("case", READABLE, ids=names)
def test_a_reply_is_read(case):
    """The value is the one that a person would read out of the reply."""
    assert case.reader.read(case.text) == case.value


@pytest.mark.parametrize("case", [case for case in CASES if case.fault], ids=names)
def test_a_reply_is_no_answer_and_the_fault_says_why(case):
    """Nothing is read, and the detail names what is wrong."""
    fault = case.reader.read(case.text)
    assert isinstance(fault, Fault)
    assert fault.reason == case.reason
    assert case.fault in fault.detail


@pytest.mark.parametrize("case", READABLE, ids=names)
def test_the_beginning_of_a_reply_is_never_read_as_something_else(case):
    """Cut anywhere, a reply gives its value, a complete draft before it, or a fault."""
    others = set()
    for length in range(len(case.text)):
        value = case.reader.read(case.text[:length])
        if not isinstance(value, Fault) and value != case.value:
            others.add(value)
    assert len(others) == int(case.drafts)


@pytest.mark.parametrize("case", READABLE, ids=names)
def test_a_reply_cut_within_its_answer_says_that_it_ends_in_the_middle(case):
    """Where the value can be read from some length on, a character less is a cut answer."""
    shortest = next(
        n for n in range(len(case.text) + 1) if case.reader.read(case.text[:n]) == case.value
    )
    if int(case.drafts) == 0:
        fault = case.reader.read(case.text[: shortest - 1])
        assert isinstance(fault, Fault)
        assert "it ends in the middle" in fault.detail
