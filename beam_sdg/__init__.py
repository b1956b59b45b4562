"""Training data for reasoning models as one Apache Beam dataflow.

The command line is `beam-sdg`; this is what a pipeline of one's own is built from.
"""

from transforms.ask import Ask, AskInTurn  # first: it imports Beam without its warning

from beam_sdg.recipes.recipe import Context, Recipe, RecipeConfig  # isort: skip
from beam_sdg.stages import Drawn, Every, Needed, OneOfSeveral, Several, Stage  # isort: skip
from beam_sdg.sources import Source  # isort: skip
from beam_sdg.sources.threads import ThreadsConfig, read_threads  # isort: skip
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
from transforms.judging import ApplyVerdicts, CompareAnswers, JoinVerdicts, SelectUndecided
from transforms.majority import MajorityVote
from transforms.outcome import Outcome
from transforms.reading import Choice, Fault, Grammar, Pattern, Structured, Text
from transforms.records import (
    Answered,
    Attribution,
    Call,
    JudgedSolution,
    Judgement,
    Pair,
    Problem,
    Reject,
    SftExample,
    Solution,
    Thread,
    Trace,
)
from transforms.repairing import FillMajorityAnswer
from transforms.sft.filters import FilterTraces
from transforms.sft.options import SftFilters
from transforms.sft.prepare import PrepareForSft
from transforms.sft.render import RenderTraces, SftFormat

__all__ = [
    "Answered",
    "ApplyVerdicts",
    "Ask",
    "AskInTurn",
    "Attribution",
    "Call",
    "Choice",
    "CompareAnswers",
    "Context",
    "Drawn",
    "Endpoint",
    "EngineDown",
    "Every",
    "Fault",
    "FillMajorityAnswer",
    "FilterTraces",
    "Grammar",
    "InputError",
    "JoinVerdicts",
    "JudgedSolution",
    "Judgement",
    "MajorityVote",
    "Needed",
    "OneOfSeveral",
    "Outcome",
    "Pair",
    "Pattern",
    "PrepareForSft",
    "Problem",
    "Recipe",
    "RecipeConfig",
    "Rehearsal",
    "Reject",
    "RenderTraces",
    "RowsLost",
    "RunError",
    "SampleCrossJoin",
    "Sampling",
    "SdgError",
    "SelectUndecided",
    "Several",
    "SftExample",
    "SftFilters",
    "SftFormat",
    "Solution",
    "Source",
    "Stage",
    "Structured",
    "Text",
    "Thread",
    "ThreadsConfig",
    "Trace",
    "UsageError",
    "Vllm",
    "__version__",
    "read_threads",
]
