"""The discussion as one text: blocks, numbers, and whole posts within a budget."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.engines.engine import estimated_tokens
from transforms.forums.posts import Budget, discussion_of, posts_of
from transforms.sft.lengths import Lengths

POSTS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), max_size=6)


def test_posts_are_blocks_with_numbers():
    """Stripped, with a line between, and an empty one keeps its number."""
    made = discussion_of([" first\n", "", "third"], Budget())
    assert made == ("Post 1:\nfirst\n\nPost 2:\n\n\nPost 3:\nthird", 3)
    assert discussion_of([], Budget()) == ("", 0)


@given(POSTS, st.integers(1, 60))
def test_the_first_post_without_room_goes_with_all_after_it(posts, tokens):
    """As the published loop: blocks are counted one by one, and a short one later is not let in."""
    text, kept = discussion_of(posts, Budget(tokens))
    blocks = [f"Post {i}:\n{post.strip()}\n\n" for i, post in enumerate(posts, start=1)]
    used, wanted = 0, []
    for block in blocks:
        used += estimated_tokens(block)
        if used > tokens:
            break
        wanted.append(block)
    assert (text, kept) == ("".join(wanted).strip(), len(wanted))


@given(st.text(max_size=60), st.integers(1, 300))
def test_a_short_text_is_let_in_without_counting_only_where_counting_would(text, tokens):
    """What is sure to fit does fit."""
    assert Budget(tokens).holds(text) == (estimated_tokens(text) <= tokens)


def test_lengths_are_those_of_a_tokenizer_if_there_is_one(tmp_path):
    """Here one of which each word is a token, whatever it is."""
    tokenizers = pytest.importorskip("tokenizers")
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"?": 0}, unk_token="?"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    words.save(str(tmp_path / "tokenizer.json"))
    budget = Budget(7, Lengths(str(tmp_path)))
    posts = ["one-long-word", "two words", "a"]  # 3, 4 and 3 with their heads
    assert discussion_of(posts, budget).posts == 2
    assert not budget.holds("a b c d e f g h")


@given(st.lists(st.text("ab :\n12Post", min_size=1, max_size=12), min_size=1, max_size=5))
def test_a_discussion_is_read_back_as_its_posts(posts):
    """Unless a post has the very head that comes next on a line of its own."""
    posts = [post.strip() for post in posts if "Post " not in post]
    assert posts_of(discussion_of(posts, Budget()).text) == posts


@pytest.mark.parametrize(
    ("discussion", "posts"),
    [
        ("", []),
        ("no heads", ["no heads"]),
        ("Post 1:\na\nPost 7:\nb\n\nPost 2:\nc", ["a\nPost 7:\nb", "c"]),
        ("Post 2:\na", ["Post 2:\na"]),
        ("before\n\nPost 1:\na", ["before", "a"]),
        ("Post 1:\nsee Post 2:\n\nPost 2:\nb", ["see Post 2:", "b"]),
    ],
)
def test_only_the_number_that_comes_next_begins_a_post(discussion, posts):
    """A post may speak of others."""
    assert posts_of(discussion) == posts
