r"""Traces rendered as the model reads and writes them: the prompt, and what it is to answer.

With a chat template the answer is what the template makes of the conversation beyond the prompt:

    <|im_start|>user↵How many?<|im_end|>↵<|im_start|>assistant↵     input
    Three, so \boxed{3}.<|im_end|>↵                                 output

So the template must begin the conversation with the very prompt, and leave nothing out.
"""

import dataclasses
import functools
import os
from collections.abc import Callable, Mapping
from typing import Any

import apache_beam as beam

import prompts
from transforms.chat_template import TEMPLATE_FAULTS, ChatTemplate
from transforms.codec import canonical_json, to_json
from transforms.outcome import Outcome, SplitRejects
from transforms.reading import Fault
from transforms.records import Reject, SftExample, Trace
from transforms.sft.messages import answer_messages, prompt_messages
from transforms.sft.parsed import THINK, THOUGHT, answer_start

# What templates call the reasoning of a message that is kept apart.
_REASONING = ("reasoning_content", "thinking")
_CUT = "\ue000cut here\ue000"  # of private characters, which nobody else writes
Variables = Callable[[Trace], Mapping[str, object]]
Prompt = list[tuple[str, str]]


def variables_of(trace: Trace) -> Mapping[str, object]:
    """The variables of a prompt that only shows the problem."""
    return {"problem": trace.problem}


@dataclasses.dataclass(frozen=True)
class SftFormat:
    """How traces become texts.

    prompt: the name of the prompt; "" is the problem alone, as a user's message.
    folders: looked into for the prompt first.
    variables: the prompt's, of a trace.
    system_message: in place of the prompt's own; None keeps that.
    template: the model's own; None leaves `input` the problem, and `output` the reasoning between
        think tags and the generation.
    chat_template_kwargs: the template's variables, such as reasoning_effort and builtin_tools.
    assistant_end: what ends an answer; None leaves it to the template.
    metadata: what every row gets beside its own columns.
    split: of the rows.
    shows_prompt: without a template, `input` is what the prompt asks, and not the problem alone.
    """

    prompt: str = ""
    folders: prompts.Folders = ()
    variables: Variables = variables_of
    system_message: str | None = None
    template: ChatTemplate | None = None
    chat_template_kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    assistant_end: str | None = None
    metadata: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    split: str = "train"
    shows_prompt: bool = False

    def messages(self, trace: Trace) -> Prompt:
        """The messages of a trace's prompt, (role, content) each.

        Raises:
            prompts.PromptError: there is no such prompt, or it asks for another variable.
        """
        if self.prompt:
            written = prompts.render(self.prompt, self.variables(trace), self.folders)
        else:
            written = [("user", trace.problem)]
        if self.system_message is None:
            return written
        rest = [(role, content) for role, content in written if role != "system"]
        return [("system", self.system_message), *rest] if self.system_message else rest

    def input_of(self, trace: Trace, messages: Prompt) -> str | Fault:
        """The prompt as a text, up to where the model is to answer; or `template_refuses`."""
        if self.template is None and self.shows_prompt:
            return "\n\n".join(content for role, content in messages if role == "user")
        if self.template is None:
            return trace.problem
        return self._rendered(messages, add_generation_prompt=True)

    def output_of(self, trace: Trace, messages: Prompt, before: str) -> str | Fault:
        """The answer as a text that follows the prompt `before`, or why there is none.

        One that a limit cut off has no end of turn, whatever the template would add.
        """
        is_cut = trace.finish_reason == "length"
        if self.template is None or self.assistant_end is not None:
            end = "" if is_cut else self.assistant_end or ""
            if self.template is not None and trace.reasoning_content:
                why = "assistant_end is set, so nothing says how the template writes reasoning"
                return Fault("no_place_for_reasoning", why)
            return with_think_tags(trace) + end
        answer = _answer_of(trace, _CUT if is_cut else "")
        whole = self._rendered([*messages, answer])
        if isinstance(whole, Fault):
            return whole
        if not whole.startswith(before):
            return Fault("template_rewrites_prompt", _first_difference(before, whole))
        output, cut, _ = whole[len(before) :].partition(_CUT)
        if is_cut and not cut:
            return Fault("template_drops_solution", "the end of the text is not in what it makes")
        return _lost(trace, output) or output

    def _rendered(self, messages: list[Any], add_generation_prompt: bool = False) -> str | Fault:
        assert self.template is not None
        try:
            return self.template.rendered(
                messages,
                **{**self.chat_template_kwargs, "add_generation_prompt": add_generation_prompt},
            )
        except TEMPLATE_FAULTS as error:
            return Fault("template_refuses", " ".join(str(error).split())[:500])


@dataclasses.dataclass(eq=False)
class RenderTraces(beam.PTransform):
    """Make rows of training data of traces.

    In:   `Trace` records.
    Out:  `rows`, an `SftExample` of each under its id; `rejects`, traces of which the template
          makes no row: `template_refuses`, `template_rewrites_prompt`, `template_drops_reasoning`,
          `template_drops_solution`, `no_place_for_reasoning`; and `unknown_code_format`.
    Cost: no shuffle; two renderings of the template.
    Once: a pure function of each trace.
    From: NeMo-Skills, "WriteFinalSftManifest"; there, a template's fault ends the run.

    Args:
        stage: the name in the rejects.
        sft_format: how traces become texts.

    Raises:
        InputError: the template asks for a date, and has none.
    """

    shard_by_shard = True

    stage: str
    sft_format: SftFormat = SftFormat()

    def expand(self, traces: beam.PCollection) -> Outcome:
        rendered = functools.partial(example_of, stage=self.stage, sft_format=self.sft_format)
        return traces | "Render" >> beam.Map(rendered) | "Split" >> SplitRejects()


def example_of(trace: Trace, stage: str, sft_format: SftFormat) -> SftExample | Reject:
    """The row of a trace, or its reject."""
    messages = sft_format.messages(trace)
    before = sft_format.input_of(trace, messages)
    if isinstance(before, Fault):
        return _reject(trace, stage, before)
    output = sft_format.output_of(trace, messages, before)
    if isinstance(output, Fault):
        return _reject(trace, stage, output)
    try:
        answer = answer_messages(trace)
    except ValueError as error:
        return _reject(trace, stage, Fault("unknown_code_format", str(error)))
    return SftExample(
        expected_answer=trace.expected_answer,
        input=before,
        output=output,
        messages=(*prompt_messages(messages), *answer),
        problem=trace.problem,
        generation=trace.generation,
        predicted_answer=trace.predicted_answer,
        is_correct=trace.is_correct,
        majority_votes=trace.majority_votes,
        total_votes=trace.total_votes,
        total_code_executions=trace.total_code_executions,
        finish_reason=trace.finish_reason,
        extra=trace.extra,
        metadata=canonical_json(sft_format.metadata),
        id=trace.id,
        problem_id=trace.problem_id,
        provenance=trace.provenance,
        split=sft_format.split,
    )


def with_think_tags(trace: Trace) -> str:
    """A generation behind reasoning that was kept apart; what is cut off there ends there."""
    if not trace.reasoning_content:
        return trace.generation
    begun = f"{THINK}\n{trace.reasoning_content.strip()}"
    if trace.finish_reason == "length" and not trace.generation:
        return begun
    return f"{begun}\n{THOUGHT}\n\n{trace.generation}"


def _answer_of(trace: Trace, mark: str) -> dict[str, Any]:
    """The trace as a template's message, with a mark behind its last words."""
    reasoning, content = trace.reasoning_content, trace.generation
    if content or not reasoning:
        content += mark
    else:
        reasoning += mark
    answer = {"role": "assistant", "content": content}
    return answer | (dict.fromkeys(_REASONING, reasoning) if reasoning else {})


def _lost(trace: Trace, output: str) -> Fault | None:
    """What of a trace the template has left out."""
    at = answer_start(trace.generation)
    thought = _bare(trace.generation[:at])
    if any(part not in output for part in (trace.reasoning_content.strip(), thought)):
        return Fault("template_drops_reasoning", "the reasoning is not in what it makes")
    if trace.generation[at:].strip() not in output:
        return Fault("template_drops_solution", "the solution is not in what it makes as it is")
    return None


def _bare(reasoning: str) -> str:
    """Reasoning without the tags around it, which templates write in their own way."""
    return reasoning.strip().removeprefix(THINK).removesuffix(THOUGHT).strip()


def _first_difference(before: str, whole: str) -> str:
    at = len(os.path.commonprefix([before, whole]))
    return f"the prompt has {before[at : at + 40]!r} where the whole has {whole[at : at + 40]!r}"


def _reject(trace: Trace, stage: str, fault: Fault) -> Reject:
    return Reject(stage, fault.reason, fault.detail, trace.id, row=to_json(trace), reply="")
