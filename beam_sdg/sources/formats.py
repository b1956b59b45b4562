"""The columns of published datasets, and where they are published."""

import pydantic

TEXT_COLUMNS = ("problem", "question", "Question", "prompt", "input", "problem_text", "text")


class Format(pydantic.BaseModel, frozen=True, extra="forbid"):
    """The columns of a dataset.

    text, id: the columns of the problem and of its id; a row without an id gets its text's hash.
    picture: a column that, where it is filled, says that the problem cannot be posed without it.
    placeholder: what stands in the text column of a row whose text was left out.
    licence: the dataset's; `licence_column` says it for each row, where it is filled.
    answer: the column of the expected answer; of a text that has more to it, `answer_pattern` is
        what to take: the group of its last match, line by line.
    needed: further columns that rows are of no use without.
    dropped: columns that do not go on with the row.
    excluded: (column, value) of rows that are not wanted.
    points: whether a row is no problem itself, but names the dataset, split and index of one.
    published: the dataset on the hub, as `hf://…`.
    """

    text: str | None = None
    id: str | None = None
    picture: str | None = None
    placeholder: str | None = None
    licence: str = ""
    licence_column: str | None = None
    answer: str | None = None
    answer_pattern: str | None = None
    needed: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    excluded: tuple[tuple[str, str], ...] = ()
    points: bool = False
    published: str | None = None


# Of OpenMathReasoning as OpenReasoning takes it: its problems, without what was made of them.
_OMR_PROBLEMS = Format(
    text="problem",
    answer="expected_answer",
    licence="CC-BY-4.0",
    dropped=("generation_model", "generated_solution", "inference_mode", "used_in_kaggle"),
    excluded=(("problem_type", "converted_proof"),),
)

FORMATS = {
    "apps": Format(text="question", id="problem_id", licence="MIT", dropped=("solutions",)),
    "code_contests": Format(
        text="description",
        id="name",
        licence="CC-BY-4.0",
        dropped=("solutions", "incorrect_solutions"),
        published="hf://deepmind/code_contests",
    ),
    "codeforces": Format(
        text="description",
        id="id",
        licence="CC-BY-4.0",
        dropped=("editorial",),
        published="hf://open-r1/codeforces",
    ),
    "gsm8k": Format(text="question", answer="answer", answer_pattern="^#### (.*)$", licence="MIT"),
    "humaneval": Format(text="prompt", id="task_id", licence="MIT"),
    "ocr": Format(
        text="input",
        id="id",
        placeholder="-",
        licence="CC-BY-4.0",
        licence_column="license",
        published="hf://nvidia/OpenCodeReasoning#split_0",
    ),
    "ocr2": Format(
        text="question_id",
        id="question_id",
        licence="CC-BY-4.0",
        licence_column="license",
        needed=("dataset", "split", "index"),
        dropped=("id", "question", "qwq_critique", "r1_generation", "solution"),
        points=True,
        published="hf://nvidia/OpenCodeReasoning-2:python",
    ),
    "omr": Format(
        text="problem", licence="CC-BY-4.0", published="hf://nvidia/OpenMathReasoning:tir"
    ),
    "omr_additional": _OMR_PROBLEMS.model_copy(
        update={"published": "hf://nvidia/OpenMathReasoning:additional_problems"}
    ),
    "omr_cot": _OMR_PROBLEMS.model_copy(update={"published": "hf://nvidia/OpenMathReasoning:cot"}),
    "sample": Format(text="problem", id="id", licence="Apache-2.0"),
    "scibench": Format(text="problem_text", licence="MIT"),
    "taco": Format(text="question", licence="Apache-2.0", dropped=("solutions",)),
    "theoremqa": Format(text="Question", id="id", picture="Picture", licence="MIT"),
}
