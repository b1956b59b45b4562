"""Tool calls and reasoning: in which format a model writes them, by marks in its chat template.

The names are those of vLLM 0.32, for `--tool-call-parser` and `--reasoning-parser`.
"""

import dataclasses
from collections.abc import Iterator, Sequence, Set

from beam_sdg.model_check.finding import Finding
from beam_sdg.model_check.model import Model
from beam_sdg.model_check.vllm_names import VllmNames


@dataclasses.dataclass(frozen=True, slots=True)
class Format:
    """A parser, the marks that a template for it has, and parsers that read the same.

    reads: a variable that the template reads, and model_type: that of config.json, where marks
        alone do not tell.
    """

    parser: str
    marks: tuple[str, ...]
    equal: tuple[str, ...] = ()
    reads: str = ""
    model_type: str = ""


TOOL_FORMATS = (
    Format("openai", ("<|channel|>", "<|start|>")),
    Format("deepseek_v3", ("<｜tool▁calls▁begin｜>", "```json")),
    Format("deepseek_v31", ("<｜tool▁calls▁begin｜>",)),
    Format("step3", ("<｜tool_calls_begin｜>",)),
    Format("minimax_m2", ("<minimax:tool_call>",)),
    Format("kimi_k2", ("<|tool_calls_section_begin|>",)),
    Format("seed_oss", ("<seed:tool_call>",)),
    Format("gemma4", ("<|tool_call>",)),
    Format("functiongemma", ("<start_function_call>",)),
    Format("apertus", ("<|tools_prefix|>",)),
    Format("lfm2", ("<|tool_call_start|>",)),
    Format("qwen3_coder", ("<tool_call>", "<function="), equal=("qwen3_xml",)),
    Format("glm45", ("<tool_call>", "<arg_key>"), equal=("glm47",)),
    Format("granite4", ("<tool_call>", "<|start_of_role|>")),
    Format("mistral", ("[TOOL_CALLS]",)),
    Format("olmo3", ("<function_calls>",)),
    Format("phi4_mini_json", ("<|tool|>",)),
    Format("granite", ("<|tool_call|>",)),
    Format("internlm", ("<|plugin|>",)),
    Format("llama4_pythonic", ("<|python_start|>",), equal=("pythonic",)),
    Format("llama3_json", ("<|python_tag|>",), equal=("llama4_json",)),
    Format("llama3_json", ("<|start_header_id|>", '"parameters"'), equal=("llama4_json",)),
    Format("jamba", ("<tool_calls>",)),
    Format("kimi_k2", ("<|im_middle|>",)),
    Format("hermes", ("<tool_call>",), equal=("qwen3_json",)),
)
REASONING_FORMATS = (
    Format("openai_gptoss", ("<|channel|>", "<|start|>")),
    Format("seed_oss", ("<seed:think>",)),
    Format("mistral", ("[THINK]",)),
    Format("granite", ("Here is my thought process",)),
    Format("gemma4", ("<|channel>",)),
    Format("cohere_command3", ("<|START_THINKING|>",), equal=("cohere_command4",)),
    Format("minimax_m2", ("<minimax:tool_call>", "</think>"), equal=("minimax_m2_append_think",)),
    Format("kimi_k2", ("<|im_middle|>", "</think>")),
    Format("glm45", ("<arg_key>", "</think>"), equal=("glm47",)),
    Format("olmo3", ("<function_calls>", "think>")),
    Format("deepseek_v3", ("<｜Assistant｜>", "</think>"), reads="thinking"),
    Format("nemotron_v3", ("</think>",), reads="enable_thinking", model_type="nemotron_h"),
    Format("qwen3", ("</think>",), equal=("deepseek_r1",), reads="enable_thinking"),
    Format("deepseek_r1", ("</think>",), equal=("qwen3",)),
)


def fitting(
    formats: Sequence[Format], template: str, reads: Set[str] = frozenset(), model_type: str = ""
) -> Format | None:
    """The first format whose marks the template has."""
    for known in formats:
        fits = all(mark in template for mark in known.marks)
        if fits and known.reads in ("", *reads) and known.model_type in ("", model_type):
            return known
    return None


def check_formats(
    model: Model, template: str, reads: Set[str], takes_tools: bool, known: VllmNames | None
) -> Iterator[Finding]:
    """Which parsers fit the template, and whether those that are asked for do.

    Args:
        model: the flags are from here.
        template: its text.
        reads: the variables that it reads.
        takes_tools: whether it shows tools to the model.
        known: the parsers that there are.
    """
    kind = str(model.config.get("model_type", ""))
    tools = fitting(TOOL_FORMATS, template, reads, kind) if takes_tools else None
    reasoning = fitting(REASONING_FORMATS, template, reads, kind)
    has = known.tool_parsers if known else None
    yield from _compared(model, "tools", "--tool-call-parser", tools, has)
    if tools is None and takes_tools and "--tool-call-parser" not in model.flags:
        text = "the template takes tools, and in which format the model calls them is not known"
        yield Finding("not seen", "tools", text)
    elif not takes_tools and "--tool-call-parser" not in model.flags:
        yield Finding("ok", "tools", "the template takes none, so none can be offered to the model")
    has = known.reasoning_parsers if known else None
    yield from _compared(model, "reasoning", "--reasoning-parser", reasoning, has)
    if reasoning is None and "--reasoning-parser" not in model.flags:
        yield Finding("ok", "reasoning", "the template has no marks of it")


def _compared(
    model: Model, about: str, flag: str, fits: Format | None, has: frozenset[str] | None
) -> Iterator[Finding]:
    given = model.flags.get(flag)
    plugin = f"{flag.replace('-call', '')}-plugin" in model.flags
    if given and has is not None and given not in has and not plugin:
        yield Finding("wrong", about, f"vLLM has no parser {given!r}, which {flag} names")
    elif given and fits is None:
        yield Finding("not seen", about, f"{flag} {given}; the template has no marks of any format")
    elif given and fits and given not in (fits.parser, *fits.equal):
        text = f"{flag} {given}, but the template has the marks of {fits.parser}"
        yield Finding("warning", about, f"{text}: {' '.join(fits.marks)}")
    elif given:
        yield Finding("ok", about, f"{flag} {given} fits the template")
    elif fits and about == "tools":
        text = f"the template takes them; for calls: --enable-auto-tool-choice {flag} {fits.parser}"
        yield Finding("ok", about, text)
    elif fits:
        text = f"the template has its marks; {flag} {fits.parser} lets answers with a schema reason"
        yield Finding("ok", about, f"{text} first")
