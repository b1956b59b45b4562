"""What a stage is called by: settings for several, and steps that belong to one."""

import pytest

from beam_sdg.launch import meant
from beam_sdg.models import ModelSettings
from beam_sdg.recipes.recipe import Context
from transforms.errors import UsageError

KNOWN = [
    *("problems", "generate_solutions_high", "generate_solutions_python_high"),
    *("judge_answers.pairs", "judge_answers", "judge_answers.verdicts"),
    *("judge_again.pairs", "judge_again", "judge_again.verdicts", "export"),
]


@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("export", ["export"]),
        ("judge_answers", KNOWN[3:6]),
        ("judge_again.pairs", ["judge_again.pairs"]),
        ("generate_solutions", KNOWN[1:3]),
        ("generate_solutions_python", KNOWN[2:3]),
        ("judge", KNOWN[3:9]),
    ],
)
def test_a_name_means_its_stage_and_its_steps(name, stages):
    """Or, where no stage has it, those whose names begin with it."""
    assert meant(name, KNOWN) == stages


@pytest.mark.parametrize("name", ["jud", "exports", "", "judge_answers_"])
def test_half_a_name_means_none(name):
    """The stages there are are named, without their steps."""
    with pytest.raises(UsageError, match="no such stage; there are problems, generate_solutions_h"):
        meant(name, KNOWN)


def test_settings_are_for_all_whose_names_begin_so():
    """The longer name wins, whatever was given first."""
    settings = {"judge_again": {"max_tokens": 9}, "judge": {"max_tokens": 5, "temperature": 0.5}}
    context = Context(models=ModelSettings(temperature=1.0), stage_settings=settings)
    found = {name: context.models_of(name) for name in ("judge_answers", "judge_again", "judges")}
    assert [found[name].max_tokens for name in found] == [5, 9, None]
    assert [found[name].temperature for name in found] == [0.5, 0.5, 1.0]
