"""The options of the published writer that decide which traces are kept."""

import pydantic

_LENGTH = "tokens of the tokenizer, or characters where there is none"


class SftFilters(pydantic.BaseModel, frozen=True, extra="forbid"):
    """Which traces are kept, and how they are trimmed: the published options, by their names."""

    add_correct: bool = pydantic.Field(True, description="keep correct traces")
    add_incorrect: bool = pydantic.Field(False, description="keep incorrect ones too")
    add_unlabeled: bool = pydantic.Field(False, description="keep those that nobody judged too")
    add_truncated: bool = pydantic.Field(
        False, description="keep those that a limit cut off too, without an end of turn"
    )
    drop_multi_boxed: bool = pydantic.Field(
        False, description="reject those with several boxes behind their reasoning"
    )
    contamination_file: str | None = pydantic.Field(
        None,
        description="reject those whose problem it calls contaminated, or does not know: JSON "
        "lines or Parquet with the columns problem and contaminated",
    )
    remove_code_errors: bool = pydantic.Field(
        False, description="reject those in which a call failed or its output was cut"
    )
    remove_matplotlib: bool = pydantic.Field(
        False, description="reject those whose code imports matplotlib"
    )
    remove_no_code: bool = pydantic.Field(
        False, description="reject those without a call to Python"
    )
    remove_no_think_tags: bool = pydantic.Field(
        False, description="reject those without reasoning that has come to its end"
    )
    remove_verification_code: bool = pydantic.Field(
        False, description="reject those that announce to verify or plot by Python"
    )
    min_majority_votes: int = pydantic.Field(
        0, ge=0, description="reject those whose answer has fewer votes; rows without votes pass"
    )
    min_majority_percentage: float = pydantic.Field(
        0.0, ge=0, le=1, description="reject those whose answer has a smaller share of the votes"
    )
    trim_prefix: bool = pydantic.Field(False, description='cut a leading "My solution:"')
    trim_solutions: bool = pydantic.Field(
        False, description="end traces with the line of their last box"
    )
    drop_incorrect_arithmetic: bool = pydantic.Field(
        False, description="reject those with a chain of sums that is wrong, such as 2 + 2 = 5"
    )
    min_problem_length: int | None = pydantic.Field(
        None, ge=0, description=f"reject those with a shorter problem; {_LENGTH}"
    )
    max_problem_length: int | None = pydantic.Field(
        None, ge=0, description=f"reject those with a longer problem; {_LENGTH}"
    )
    min_solution_length: int | None = pydantic.Field(
        None, ge=0, description=f"reject shorter ones, reasoning included; {_LENGTH}"
    )
    max_solution_length: int | None = pydantic.Field(
        None, ge=0, description=f"reject longer ones, reasoning included; {_LENGTH}"
    )
    use_chars_for_min_length: bool = pydantic.Field(
        False, description="count min_solution_length in characters"
    )
    add_code_execution_counts: bool = pydantic.Field(
        False, description="read total_code_executions from the outputs that announce it"
    )

    @pydantic.model_validator(mode="after")
    def _ranges_hold_something(self) -> "SftFilters":
        same_unit = not self.use_chars_for_min_length
        for of, low, high in (
            ("problem", self.min_problem_length, self.max_problem_length),
            ("solution", self.min_solution_length if same_unit else None, self.max_solution_length),
        ):
            if low is not None and high is not None and low > high:
                raise ValueError(
                    f"min_{of}_length {low} is more than max_{of}_length {high}; swap them"
                )
        return self
