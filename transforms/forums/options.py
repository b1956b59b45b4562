"""Which posts of a Stack Exchange dump become threads."""

import datetime

import pydantic

CUT = "2024-07-01"  # dumps of posts since then come with conditions beyond their licence


class PostOptions(pydantic.BaseModel, frozen=True, extra="forbid"):
    """Which questions and answers are taken; each of the others is a reject with its reason."""

    min_score: int | None = pydantic.Field(None, description="least score of a question")
    min_answer_score: int | None = pydantic.Field(None, description="least score of an answer")
    tags: tuple[str, ...] = pydantic.Field(
        (), description="take questions with one of these tags only"
    )
    without_tags: tuple[str, ...] = pydantic.Field(
        (), description="refuse questions with one of these tags"
    )
    closed: bool = pydantic.Field(True, description="take questions that were closed too")
    duplicates: bool = pydantic.Field(
        True, description="take those too that PostLinks.xml calls duplicates of others"
    )
    migrated: bool = pydantic.Field(
        True, description="take those too that PostHistory.xml says have moved between sites"
    )
    comments: bool = pydantic.Field(
        True, description="add the comments of Comments.xml to the discussion, if it is there"
    )
    posted_from: datetime.date | None = pydantic.Field(
        None, description="refuse posts from before this day"
    )
    posted_before: datetime.date = pydantic.Field(
        datetime.date.fromisoformat(CUT), description="refuse posts of this day and later"
    )
    edited_before: datetime.date | None = pydantic.Field(
        None, description="refuse posts whose last edit is of this day or later"
    )
    site: str = pydantic.Field(
        "",
        description="host of the site of dumps whose path does not say, as in "
        "math.stackexchange.com",
    )
