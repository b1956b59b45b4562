"""The checks of a problem statement, each with texts that pass and texts that do not."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.reading import Fault
from transforms.statements import (
    COPIED_WORDS,
    admits_irrelevance,
    changes_question,
    copies_passage,
    example_lines,
    keeps_examples,
    loses_examples,
    names_source,
    squeezed,
)

LINES = st.lists(
    st.sampled_from(
        [
            "",
            "Example:",
            "Sample Input 1",
            "Input",
            "Output",
            ">>> f(1, 2)",
            "... + 1",
            '"""',
            "3 4 5 6",
            "How many ways are there?",
            "Find the shortest path of all.",
        ]
    ),
    max_size=12,
)
STATEMENTS = LINES.map("\n".join)

CONTEST = """Count the pairs of cities that are joined by a road.

Input
The first line holds n.

Output
One integer.

Sample Input 1
10 5 7 9
4 4

Sample Output 1
17 crossings

How is that so in the first example?"""

DOCTEST = '''def area(sides):
    """ Return the area of a triangle.
    >>> area([3, 4, 5])
    6.0000
    >>> area([1, 1,
    ...       1])
    0.4330
    The sides are positive.
    """'''


def reason(fault: Fault | None) -> str:
    assert fault is None or fault.detail
    return fault.reason if fault else ""


@given(st.text())
@settings(deadline=None)
def test_squeezing_twice_is_squeezing_once(text):
    """Squeezed text has single spaces, none at its ends, and stays as it is."""
    once = squeezed(text)
    assert once == " ".join(once.split())
    assert squeezed(once) == once


@pytest.mark.parametrize("text", ["A  Red\n\tCar ", "a red car", "\nA RED CAR"])
def test_squeezing_forgets_case_and_line_breaks(text):
    """Texts that differ in white space and case alone are the same when squeezed."""
    assert squeezed(text) == "a red car"


@pytest.mark.parametrize(
    "text",
    [
        "As in Problem A, count the roads.",
        "Use the method of problem B.",
        "(Problem A)",
        "PROBLEM B",
        "Combine problem A and problem B.",
        "Problem B's graph is a tree.",
    ],
)
def test_a_text_that_names_its_sources_is_found_out(text):
    """A reader of the new problem cannot know what "Problem A" and "Problem B" are."""
    assert reason(names_source(text, "Count the roads.", "Find the area.")) == "names_source"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "This problem asks for the number of roads.",
        "This problem behaves like a graph.",
        "Consider the problem again.",
        "Problem C and problem 1 are others.",
        "Subproblem A comes first.",
        "In problem a you look for roads.",
        "The Problem Bank is closed.",
    ],
)
def test_other_words_that_begin_alike_are_no_names(text):
    """Only the very words "Problem A" and "Problem B" name a source."""
    assert names_source(text, "Count the roads.", "Find the area.") is None


def test_a_name_that_a_source_uses_itself_is_allowed():
    """A source that says "Problem A" may be quoted."""
    text = "As in Problem A of the contest, count the roads."
    assert names_source(text, "Problem A of the contest", "Find the area.") is None
    assert names_source(text, "Find the area.", "See problem A.") is None
    assert reason(names_source(text, "See Problem B.", "")) == "names_source"


@pytest.mark.parametrize("source", ["This problem asks for roads.", "A problem about roads."])
def test_a_source_with_words_that_begin_alike_excuses_no_name(source):
    """A source that says "problem asks" does not say "Problem A"."""
    assert reason(names_source("As in Problem A, count the roads.", source)) == "names_source"


WORDS = [f"word{number}" for number in range(60)]
SOURCE = " ".join(WORDS)


def test_a_long_passage_of_the_source_is_found():
    """As many words in a row as the limit says are a copy, whatever their case and line breaks."""
    passage = WORDS[10 : 10 + COPIED_WORDS]
    assert reason(copies_passage(f"So: {' '.join(passage)} end.", SOURCE)) == "copies_source"
    assert reason(copies_passage("\n".join(passage).upper(), SOURCE)) == "copies_source"


def test_a_passage_one_word_shorter_is_no_copy():
    """One word fewer than the limit, or a passage with one word changed, is allowed."""
    passage = WORDS[10 : 10 + COPIED_WORDS]
    assert copies_passage(" ".join(passage[:-1]), SOURCE) is None
    passage[12] = "another"
    assert copies_passage(" ".join(passage), SOURCE) is None


def test_a_short_source_is_copied_by_most_of_its_words():
    """Of a source shorter than the limit 80 % of its words in a row are a copy, fewer are none."""
    short = "What is the area of a round pond, in square metres?"
    assert reason(copies_passage(f"Say {short} now", short)) == "copies_source"
    close = "what is the area of a round pond in hectares"
    assert reason(copies_passage(close, short)) == "copies_source"
    assert copies_passage("what is the area of a square pond", short) is None


def test_a_passage_that_the_base_problem_has_too_is_no_copy():
    """Wording that both sources share may be kept."""
    passage = " ".join(WORDS[10 : 10 + COPIED_WORDS])
    assert copies_passage(passage, SOURCE, f"Before. {passage} After.") is None


def test_a_source_of_four_words_is_too_short_to_tell():
    """Four words may be said again; five may not."""
    assert copies_passage("Find the area now", "find the area now") is None
    assert reason(copies_passage("Find the area right now", "find the area right now"))


@given(
    st.lists(st.sampled_from("abcdef"), max_size=60),
    st.lists(st.sampled_from("abcdef"), max_size=60),
)
@settings(deadline=None)
def test_a_copy_is_a_common_run_of_words(text, source):
    """The check agrees with a search for every run of the source within the text."""
    length = min(COPIED_WORDS, max(5, int(0.8 * len(source))))
    runs = [" ".join(source[at : at + length]) for at in range(len(source) - length + 1)]
    expected = len(source) >= 5 and any(f" {run} " in f" {' '.join(text)} " for run in runs)
    assert bool(copies_passage(" ".join(text), " ".join(source))) == expected


@given(st.lists(st.sampled_from("abcdefgh"), min_size=5, max_size=40), st.text(max_size=20))
@settings(deadline=None)
def test_a_text_that_holds_all_of_a_source_is_a_copy(words, around):
    """All of a source of five words or more within a text is always found."""
    source = " ".join(words)
    assert reason(copies_passage(f"{around} {source} {around}", source)) == "copies_source"


@pytest.mark.parametrize(
    "phrase",
    [
        "irrelevant",
        "IRRELEVANT",
        "a red herring",
        "does not affect the answer",
        "doesn’t affect the answer",
        "do not change anything",
        "don't influence it",
        "does not change the count",
        "has no effect on the total",
        "has no bearing on it",
        "has no influence on it",
        "can be ignored when solving it",
        "may be ignored by the reader when answering",
        "is not needed to solve it",
        "are not needed to solve it",
        "a distractor",
        "merely decorative",
        "merely a distraction",
        "will not influence the sum",
        "plays no role",
        "has no impact",
    ],
)
def test_an_admission_that_something_does_not_matter_is_found(phrase):
    """A text that says what may be left out gives the obfuscation away."""
    text = f"The colour of the cars: {phrase}. Count them."
    assert reason(admits_irrelevance(text, "Count the cars.", "Mix colours.")) == (
        "admits_irrelevance"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "The colour of a car affects its price.",
        "The order matters.",
        "Cars without a driver cannot be ignored.",
        "The relevant cars are red.",
        "It does not move.",
        "An effect on the price is expected.",
    ],
)
def test_ordinary_words_admit_nothing(text):
    """Words that say that something does matter, or say neither, are allowed."""
    assert admits_irrelevance(text, "Count the cars.", "Mix colours.") is None


def test_an_admission_of_a_source_may_be_repeated():
    """What either source says of itself is not held against the new text; anything more is."""
    text = "Case does not matter. The order is irrelevant."
    source = "Letters: case  DOES NOT matter."
    assert admits_irrelevance(text, source, "The hue is irrelevant.") is None
    assert "irrelevant" in admits_irrelevance(text, source, "Mix colours.").detail


def test_headed_examples_end_with_their_paragraph():
    """Lines after a heading such as "Sample Input 1" are examples, up to the next empty line."""
    assert example_lines(CONTEST) == ["10 5 7 9", "4 4", "17 crossings"]


@pytest.mark.parametrize(
    "heading",
    [
        "Example",
        "Example:",
        "EXAMPLES",
        "Examples:",
        "Example 1",
        "Example #2:",
        "Sample Input",
        "Sample Input 1",
        "sample output #1",
        "Sample Test",
        "Sample case 3:",
        "**Example**",
        "### Example",
        "-----Examples-----",
    ],
)
def test_a_heading_opens_examples(heading):
    """Headings in plain text, Markdown and ruled lines are known, with or without a number."""
    assert example_lines(f"Count.\n\n{heading}\n10 5\n17\n\nEnd.") == ["10 5", "17"]


@pytest.mark.parametrize(
    "line",
    [
        "For example, take two cars.",
        "An example input follows.",
        "Examples of this are many.",
        "Sampling is allowed.",
        "Example 1 of the book",
        "Input",
        "Output",
    ],
)
def test_other_lines_open_no_examples(line):
    """A sentence with the word in it, and a heading of a description, open no examples."""
    assert example_lines(f"Count.\n\n{line}\n10 5\n17\n\nEnd.") == []


def test_examples_go_on_in_a_paragraph_headed_input_or_output():
    """Paragraphs after an example that begin with "Input" or "Output" belong to it."""
    text = "Example:\nInput\n3 4\n\nOutput:\n7\n\nExplanation of it.\n\nInput\nmore"
    assert example_lines(text) == ["3 4", "7"]
    spaced = "Examples\n\nInput\n\n5 3\n\nOutput\n\n29\n\nNote\n\nThe end."
    assert example_lines(spaced) == ["5 3", "29"]


def test_a_doctest_has_one_line_of_result():
    """Each call with its continuation lines and one line of result is an example; prose is not."""
    assert [line.strip() for line in example_lines(DOCTEST)] == [
        ">>> area([3, 4, 5])",
        "6.0000",
        ">>> area([1, 1,",
        "...       1])",
        "0.4330",
    ]


def test_a_doctest_without_a_result_takes_no_prose():
    """An empty line or the end of the docstring after a call is no result."""
    assert example_lines(">>> f(1)\n\nprose") == [">>> f(1)"]
    assert example_lines('>>> f(1)\n"""\ndef g(): pass') == [">>> f(1)"]


def test_dots_without_a_call_are_prose():
    """A line that begins with three dots is an example only after a call."""
    assert example_lines("Well\n... it goes on.") == []


@given(STATEMENTS)
@settings(max_examples=100, deadline=None)
def test_example_lines_are_lines_of_the_text_in_order(text):
    """The examples are some of the text's own lines that are not empty, in their order."""
    lines = iter(text.splitlines())
    found = example_lines(text)
    assert all(line in lines for line in found)
    assert all(line.strip() for line in found)


@given(STATEMENTS, STATEMENTS, STATEMENTS)
@settings(max_examples=100, deadline=None)
def test_a_text_that_holds_the_whole_source_keeps_everything(source, before, after):
    """A source with words put before and after it loses no example and no question."""
    text = f"{before}\n{source}\n{after}"
    assert loses_examples(text, source) is None
    assert changes_question(text, source) is None


def test_an_example_that_is_gone_is_named():
    """A line of an example, a result of a doctest or a section's heading may not go."""
    assert loses_examples(CONTEST, CONTEST) is None
    assert loses_examples(f"At sea.\n\n{CONTEST.upper()}", CONTEST) is None
    assert "17 crossings" in loses_examples(CONTEST.replace("17", "18"), CONTEST).detail
    assert "0.4330" in loses_examples(DOCTEST.replace("0.4330", ""), DOCTEST).detail
    for gone in ("10 5 7 9", "4 4", "17 crossings"):
        assert reason(loses_examples(CONTEST.replace(gone, ""), CONTEST)) == "loses_examples"


def test_a_section_heading_that_is_gone_is_named():
    """A text without the word that heads a description of input or output has lost it."""
    source = "Count.\n\n**Input Format**\nThe number n.\n\nOutput:\nOne integer."
    assert loses_examples("Count. Input format: n. Output: one integer.", source) is None
    assert "Input Format" in loses_examples("Count. Output: one integer.", source).detail
    assert "Output" in loses_examples("Count. Input format: n.", source).detail


def test_a_source_without_examples_has_none_to_lose():
    """Where the source has neither examples nor sections, any text will do."""
    assert loses_examples("", "Count the roads. For example, take none.") is None


def test_an_example_that_is_still_there_is_named():
    """A line of an example of six characters or more may not stay in a harder problem."""
    assert "10 5 7 9" in keeps_examples("At sea.\n10 5 7 9\n", CONTEST).detail
    assert "17 crossings" in keeps_examples("He needs 17\nCROSSINGS.", CONTEST).detail
    assert reason(keeps_examples(DOCTEST, DOCTEST)) == "keeps_examples"


def test_lines_too_short_to_tell_may_stay():
    """A line of fewer than six characters may be there by chance, and other lines always."""
    assert keeps_examples("Take 4 4 and count the pairs of cities. Input. Output.", CONTEST) is None
    assert keeps_examples("12345", "Example:\n12345") is None
    assert reason(keeps_examples("123456", "Example:\n123456")) == "keeps_examples"
    assert keeps_examples("How many?", "How many?") is None


def test_a_question_that_is_gone_is_named():
    """A question of the source that the text does not ask in the same words is named."""
    source = "Cars queue. How many crossings are needed? Why is that so, in detail?"
    kept = "At sea. How  many\ncrossings are NEEDED? Why is that so, in detail?"
    assert changes_question(kept, source) is None
    gone = changes_question("How many cars are needed? Why is that so, in detail?", source)
    assert reason(gone) == "changes_question"
    assert "How many crossings are needed?" in gone.detail
    assert "Why is that so" in changes_question("How many crossings are needed?", source).detail


@pytest.mark.parametrize(
    "source",
    ["", "Count the roads.", "Why? Is it so? Really, now?", "What ?! Who ??", "a?b?c?"],
)
def test_a_source_without_a_real_question_asks_nothing(source):
    """A source without a question of four words or more may be reworded at will."""
    assert changes_question("Anything else.", source) is None


@given(LINES, st.sampled_from(["How many ways are there?", "what  is the\nanswer ?"]))
@settings(deadline=None)
def test_a_question_that_is_dropped_is_always_noticed(lines, question):
    """Any source with a question of its own is not matched by a text without that question."""
    source = "\n".join([*lines, f"Note. {question.splitlines()[0]} at all?"])
    assert reason(changes_question("Nothing is asked.", source)) == "changes_question"


def test_a_long_source_is_checked_quickly():
    """A line of 2,000 characters without a full stop takes less than half a second."""
    source = f"Count.\n\nExample:\n{'1 ' * 1000}\n\nHow many ways are there?"
    started = time.perf_counter()
    assert changes_question(source, source) is None
    assert time.perf_counter() - started < 0.5
