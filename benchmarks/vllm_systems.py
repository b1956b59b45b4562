"""The three ways of `benchmarks/vllm.py` to have vLLM answer prompts, each a process of its own.

A system is a function from prompts to the number of tokens of their answers. It is made with its
engine warm: loaded, and asked once. The process reads a JSON list of prompts a line and writes the
tokens and the seconds that it took.
"""

import argparse
import json
import logging
import os
import shlex
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

from beam_sdg import Ask
from transforms.engines.engine import Sampling
from transforms.engines.hold import end_engines
from transforms.engines.vllm import Vllm
from transforms.reading import Text
from transforms.records import Answered, Problem
from transforms.seeding import digest

System = Callable[[list[str]], int]
WARMING = ["<2>"]


def generate(model: str, args: str, longest: int) -> System:
    """The offline `LLM.generate`: all prompts at once, in one process, without a server."""
    from vllm import LLM, SamplingParams
    from vllm.engine.arg_utils import EngineArgs
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser = EngineArgs.add_cli_args(FlexibleArgumentParser())
    flags = parser.parse_args(["--model", model, *shlex.split(args)])
    llm = LLM.from_engine_args(EngineArgs.from_cli_args(flags))
    sampling = SamplingParams(temperature=0.0, max_tokens=longest)

    def run(prompts: list[str]) -> int:
        outputs = llm.generate(prompts, sampling, use_tqdm=False)
        return sum(len(output.outputs[0].token_ids) for output in outputs)

    run(WARMING)
    return run


def ask(model: str, args: str, longest: int) -> System:
    """`Ask` in a pipeline, with an answer store of its own each time."""
    folder = Path(tempfile.mkdtemp())
    (folder / "count.jinja").write_text("{% block user %}{{ text }}{% endblock %}")
    engine = Vllm(model=model, args=args)
    sampling = Sampling(temperature=0.0, max_tokens=longest)

    def run(prompts: list[str]) -> int:
        step = Ask(
            name="count", prompt="count", prompt_folders=(str(folder),), variables=variables,
            reader=Text(), engine=engine, store=tempfile.mkdtemp(), seed=0, keep=keep,
            sampling=sampling,
        )  # fmt: skip
        with pipeline() as root:
            answered = root | beam.Create(prompts) | beam.Map(problem) | step
            total(answered.rows | beam.Map(lambda row: row.call.completion_tokens), folder)
        return int((folder / "total").read_text())

    run(WARMING)
    return run


def variables(record: Problem) -> dict[str, object]:
    return {"text": record.text}


def keep(answered: Answered) -> Answered:
    return answered


def problem(text: str) -> Problem:
    return Problem(digest(text), text, "benchmark", text, "", "{}")


def stock(model: str, args: str, longest: int) -> System:
    """Beam's `VLLMChatModelHandler` as it comes; its server stays for the next pipeline."""
    from apache_beam.ml.inference.base import RunInference
    from apache_beam.ml.inference.vllm_inference import OpenAIChatMessage, VLLMChatModelHandler

    folder = Path(tempfile.mkdtemp())
    sampling = {"temperature": 0.0, "max_tokens": longest}

    def run(prompts: list[str]) -> int:
        handler = VLLMChatModelHandler(model, vllm_server_kwargs=as_options(args))
        infer = RunInference(handler, inference_args=sampling, model_identifier="benchmark")
        with pipeline() as root:
            messages = beam.Map(lambda text: [OpenAIChatMessage("user", text)])
            answered = root | beam.Create(prompts) | messages | infer
            total(answered | beam.Map(lambda row: row.inference.usage.completion_tokens), folder)
        return int((folder / "total").read_text())

    run(WARMING)
    return run


def as_options(args: str) -> dict[str, str | None]:
    """The flags by name, None for those without a value."""
    options: dict[str, str | None] = {}
    name = ""
    for part in shlex.split(args.replace("=", " ")):
        if part.startswith("--"):
            name = part[2:]
            options[name] = None
        else:
            options[name] = part
    return options


def pipeline() -> beam.Pipeline:
    return beam.Pipeline(options=PipelineOptions(["--runner=FnApiRunner"]))


def total(tokens: beam.PCollection, folder: Path) -> None:
    added = tokens | beam.CombineGlobally(sum)
    _ = added | beam.io.WriteToText(str(folder / "total"), shard_name_template="")


SYSTEMS = {"LLM.generate": generate, "Ask": ask, "VLLMChatModelHandler": stock}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("system", choices=SYSTEMS)
    parser.add_argument("model")
    parser.add_argument("args")
    parser.add_argument("longest", type=int)
    flags = parser.parse_args()
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what vLLM prints goes to the log
    logging.disable(logging.WARNING)
    run = SYSTEMS[flags.system](flags.model, flags.args, flags.longest)
    answers.write("ready\n")
    for line in sys.stdin:
        began = time.perf_counter()
        tokens = run(json.loads(line))
        answers.write(json.dumps([tokens, time.perf_counter() - began]) + "\n")
    end_engines()


if __name__ == "__main__":
    main()
