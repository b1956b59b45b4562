"""Training data for reasoning models as one Apache Beam dataflow.

The command line is `beam-sdg`; this is what a pipeline of one's own is built from.
"""

from transforms.ask import Ask, AskInTurn  # first: it imports Beam without its warning

from beam_sdg.recipes.recipe import Context, Recipe, RecipeConfig  # isort: skip
from beam_sdg.runs import Stage  # isort: skip
from beam_sdg.sources import Source  # isort: skip
from beam_sdg.version import __version__  # isort: skip
from transforms.cross_join import SampleCrossJoin
from transforms.engines.endpoint import Endpoint
from transforms.engines.engine import Sampling
from transforms.engines.rehearsal import Rehearsal
from transforms.engines.vllm import Vllm
from transforms.errors import (
    EngineDown,
    InputError,
    RowsLost,
    RunError,
    SdgError,
    UsageError,
)
from transforms.outcome import Outcome
from transforms.reading import Choice, Fault, Grammar, Pattern, Structured, Text
from transforms.records import Answered, Call, Pair, Problem, Reject

__all__ = [
    "Answered",
    "Ask",
    "AskInTurn",
    "Call",
    "Choice",
    "Context",
    "Endpoint",
    "EngineDown",
    "Fault",
    "Grammar",
    "InputError",
    "Outcome",
    "Pair",
    "Pattern",
    "Problem",
    "Recipe",
    "RecipeConfig",
    "Rehearsal",
    "Reject",
    "RowsLost",
    "RunError",
    "SampleCrossJoin",
    "Sampling",
    "SdgError",
    "Source",
    "Stage",
    "Structured",
    "Text",
    "UsageError",
    "Vllm",
    "__version__",
]
