"""The columns of published datasets, and where they are published."""

import pydantic

TEXT_COLUMNS = ("problem", "question", "Question", "prompt", "input", "problem_text", "text")


class Format(pydantic.BaseModel, frozen=True, extra="forbid"):
    """The columns of a dataset.

    text, id: the columns of the problem and of its id; a row without an id gets its text's hash.
    picture: a column that, where it is filled, says that the problem cannot be posed without it.
    placeholder: what stands in the text column of a row whose text was left out.
    licence: the dataset's; `licence_column` says it for each row, where it is filled.
    published: the dataset on the hub, as `hf://…`.
    """

    text: str | None = None
    id: str | None = None
    picture: str | None = None
    placeholder: str | None = None
    licence: str = ""
    licence_column: str | None = None
    published: str | None = None


FORMATS = {
    "gsm8k": Format(text="question", licence="MIT"),
    "humaneval": Format(text="prompt", id="task_id", licence="MIT"),
    "ocr": Format(
        text="input",
        id="id",
        placeholder="-",
        licence="CC-BY-4.0",
        licence_column="license",
        published="hf://nvidia/OpenCodeReasoning#split_0",
    ),
    "omr": Format(
        text="problem", licence="CC-BY-4.0", published="hf://nvidia/OpenMathReasoning:tir"
    ),
    "sample": Format(text="problem", id="id", licence="Apache-2.0"),
    "scibench": Format(text="problem_text", licence="MIT"),
    "theoremqa": Format(text="Question", id="id", picture="Picture", licence="MIT"),
}
