"""The errors that users meet: their exit codes, and how they are found in a runner's error."""

import inspect

import apache_beam as beam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms import errors
from transforms.errors import (
    EngineDown,
    InputError,
    RowsLost,
    RunError,
    SdgError,
    UsageError,
    explained,
)

FROM_WORKERS = [InputError, RunError, EngineDown, RowsLost]
MESSAGES = st.text(
    st.characters(exclude_categories=["C", "Z"], exclude_characters="[]:"), min_size=1
).map(lambda text: f"cannot read {text}")


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (SdgError, 1),
        (UsageError, 2),
        (InputError, 3),
        (RunError, 4),
        (EngineDown, 4),
        (RowsLost, 4),
    ],
)
def test_each_error_has_its_exit_code(error, exit_code):
    """The command line ends with the code of the error's kind."""
    assert error("x").exit_code == exit_code


def test_every_error_is_drawn_in_the_tree_at_the_top():
    """The module's docstring names each of its errors, and all share one base."""
    found = [each for _, each in inspect.getmembers(errors, inspect.isclass)]
    assert len(found) == 7
    for error in found:
        assert issubclass(error, SdgError)
        assert f" {error.__name__} " in errors.__doc__


@pytest.mark.parametrize("error", [SdgError, UsageError, *FROM_WORKERS])
def test_an_error_of_ours_explains_itself(error):
    """An error that arrives as it was raised keeps its type and message, less the step's name."""
    for message in ("no [id] in a.json", "no [id] in a.json [while running 'Read/Map-ptr-3']"):
        found = explained(error(message))
        assert type(found) is error
        assert str(found) == "no [id] in a.json"


@given(st.sampled_from(FROM_WORKERS), MESSAGES)
@settings(deadline=None)
def test_an_error_is_found_in_the_text_of_a_runners_error(error, message):
    """From a worker's traceback come the type and the message, without the step's name."""
    traceback = (
        "Traceback (most recent call last):\n"
        '  File "transforms/engines/handler.py", line 1, in run_inference\n'
        f"transforms.errors.{error.__name__}: {message} [while running 'evals/Infer/Run-ptr-7']\n"
    )
    found = explained(RuntimeError(traceback))
    assert type(found) is error
    assert str(found) == message


def test_an_error_at_the_beginning_of_the_text_is_found():
    """The type may be the first word of the text, with or without its module."""
    for text in ("RunError: the disk is full", "transforms.errors.RunError: the disk is full"):
        found = explained(RuntimeError(text))
        assert type(found) is RunError
        assert str(found) == "the disk is full"


def test_of_several_errors_the_last_one_counts():
    """A chain of tracebacks ends with the error that was raised at last."""
    text = (
        "transforms.errors.RunError: first\n\n"
        "During handling of the above exception, another exception occurred:\n\n"
        "transforms.errors.EngineDown: second\n"
    )
    found = explained(ValueError(text))
    assert type(found) is EngineDown
    assert str(found) == "second"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "KeyError: 'x'",
        "the log says RunError: maybe",
        "NotAnInputError: x",
        "RunError",
        "MyRunError: x",
        "x: InputError: y",
    ],
)
def test_an_error_of_somebody_else_is_not_explained(text):
    """A text that does not raise one of our errors at the start of a line has none in it."""
    assert explained(RuntimeError(text)) is None


def test_a_message_in_brackets_of_its_own_is_kept():
    """Only the step's name that Beam appends is taken away."""
    found = explained(RuntimeError("InputError: no [id] in [a.json] [while running 'Read']"))
    assert str(found) == "no [id] in [a.json]"


def refuse(number: int) -> int:
    raise InputError(f"cannot use {number}; give another")


def test_an_error_of_a_real_pipeline_is_explained_in_its_own_words():
    """What a step raises comes out of a run with its type, and its message as it was written."""
    with (
        pytest.raises(Exception, match="cannot use 7") as raised,
        beam.Pipeline(argv=["--runner=FnApiRunner"]) as pipeline,
    ):
        _ = pipeline | beam.Create([7]) | "Refuse" >> beam.Map(refuse)
    found = explained(raised.value)
    assert type(found) is InputError
    assert str(found) == "cannot use 7; give another"
