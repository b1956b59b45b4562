"""The flags of recipes that take problems, with or without their answers."""

import re
from pathlib import Path
from typing import Any, ClassVar

import pydantic

from beam_sdg.recipes.recipe import Context, RecipeConfig
from beam_sdg.sources import Source
from beam_sdg.stages import Stage
from transforms.sft.traces import GENERATION

_BYTES = {".gz": 10, ".bz2": 10, ".xz": 10, ".zst": 10, ".parquet": 10}  # of text, at most
SAMPLES = Path(__file__).parents[1] / "samples"
ANSWER_COLUMN = "expected_answer"


class SourcesConfig(RecipeConfig):
    """Base of the configurations of recipes that read rows with problems.

    Solutions are long: with 100 KB of reasoning, a row of training data has 300.
    """

    rows_per_shard: ClassVar[int] = 10_000

    problems: tuple[str, ...] = pydantic.Field(
        (), description="[FORMAT=]FILE or a glob; several, separated by commas"
    )
    column: str | None = pydantic.Field(None, description="the text column")
    id_column: str | None = pydantic.Field(None, description="the id column")
    licence: str | None = pydantic.Field(None, description="licence of the problems")
    num_records: int = pydantic.Field(10, ge=1, description="problems that are solved")

    def sources(self, sample: str = "science") -> tuple[Source, ...]:
        """The problems, their files and columns looked at; by default the bundled `sample`.

        Raises:
            UsageError: a format is unknown, or a dataset of the hub needs the extra `datasets`.
            InputError: a file, a dataset or a column is missing.
        """
        parsed = [Source.parse(text, **self._columns()) for text in self._given(sample)]
        return tuple(source.resolve("--column") for source in parsed)

    def bytes_there(self, sample: str = "science") -> int:
        """About how many bytes the files' texts have at most; 0 of datasets of the hub."""
        files = [file for text in self._given(sample) for file in Source.parse(text).files()]
        return sum(_BYTES.get(Path(file.path).suffix, 1) * file.size_in_bytes for file in files)

    def rows_at_most(self, sample: str = "science") -> int:
        """`num_records`, or as many as the files allow: a row has 100 bytes at least."""
        there = self.bytes_there(sample)
        return min(self.num_records, there // 100 + 1) if there else self.num_records

    def _given(self, sample: str) -> tuple[str, ...]:
        return self.problems or (f"sample={SAMPLES / f'{sample}.jsonl'}",)

    def _columns(self) -> dict[str, Any]:
        names = {"text": self.column, "id": self.id_column, "licence": self.licence}
        return {name: value for name, value in names.items() if value}


class ProblemsConfig(SourcesConfig):
    """Base of those that solve problems."""

    deduplicate: bool = pydantic.Field(True, description="reject equal problems")

    def read(self, context: Context, sources: tuple[Source, ...]) -> Stage:
        """The stage that reads them, `num_records` at most."""
        return context.read(
            "problems", sources, max_records=self.num_records, deduplicate=self.deduplicate
        )


class AnsweredSourcesConfig(SourcesConfig):
    """Base of those that need to know what a source's expected answers are."""

    answer_column: str | None = pydantic.Field(
        None, description=f"the column of expected answers (default: {ANSWER_COLUMN}, if there)"
    )
    answer_pattern: str | None = pydantic.Field(
        None, description="regular expression whose group is the answer, as in ^#### (.*)$"
    )

    @pydantic.field_validator("answer_pattern")
    @classmethod
    def _has_one_group(cls, pattern: str | None) -> str | None:
        try:
            if pattern is not None and re.compile(pattern).groups != 1:
                raise ValueError(f"{pattern!r} must have one group, which is the answer")
        except re.error as error:
            raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
        return pattern

    def sources(self, sample: str = "math") -> tuple[Source, ...]:
        """As `SourcesConfig`; a source whose format names no column of answers has the usual."""
        return tuple(
            source
            if source.format.answer
            else source.model_copy(
                update={"format": source.format.model_copy(update={"answer": ANSWER_COLUMN})}
            )
            for source in super().sources(sample)
        )

    def _columns(self) -> dict[str, Any]:
        needed = (self.answer_column,) if self.answer_column else ()
        names = {"answer": self.answer_column, "answer_pattern": self.answer_pattern}
        own = {**names, "needed": needed}
        return super()._columns() | {name: value for name, value in own.items() if value}


class JudgedRowsConfig(AnsweredSourcesConfig):
    """Base of those that take solutions which are there already, and were judged."""

    problems: tuple[str, ...] = pydantic.Field(
        (), description="[FORMAT=]FILE or a glob of judged solutions; several, separated by commas"
    )
    use_judgement: bool | None = pydantic.Field(
        None,
        description="true: go by the column judgement; false: by symbolic_correct (default: by "
        "judgement where a row has one, then by symbolic_correct, then by is_correct)",
    )

    def _columns(self) -> dict[str, Any]:
        columns = super()._columns()
        return {**columns, "needed": (*columns.get("needed", ()), GENERATION)}


class AnsweredProblemsConfig(AnsweredSourcesConfig, ProblemsConfig):
    """Base of those that solve problems and look at their answers."""
