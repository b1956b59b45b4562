"""HTML as text: what is in a text comes out as it was, and what is around it can be read."""

import html
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from transforms.forums.html import Rendered, text_of
from transforms.forums.records import Fault

MATH = st.text(
    st.one_of(
        st.sampled_from("\\{}^_&<>$\"'|~#%`*[]()-+= \n\t"),
        st.characters(exclude_categories=["Cs", "Cc"]),
    ),
    min_size=1,
    max_size=40,
)

AROUND = (
    *(f"<{tag}>{{}}</{tag}>" for tag in ("p", "div", "blockquote", "pre", "code", "b", "s", "sup")),
    *(f"<{tag}>{{}}</{tag}>" for tag in ("ul", "ol", "li", "table", "tr", "td", "th", "caption")),
    *(f"<{tag}>{{}}</{tag}>" for tag in ("tbody", "h2", "dl", "dd", "details", "span")),
    "<ul><li>{}</li></ul>",
    "<ol><li><p>a</p>{}<br></li></ol>",
    "<table><tr><td>a</td><td>{}</td></tr></table>",
    '<a href="https://x.org/a">{}</a>',
    '{}<img alt="a">',
)


def shown(body: str) -> str:
    rendered = text_of(body, "https://math.stackexchange.com")
    assert isinstance(rendered, Rendered)
    return rendered.text


@settings(deadline=None)
@given(MATH)
@example(r"\begin{align} a &< b \\ c &> d & \text{if } x \neq y \end{align}")
@example("a\n\\\\\n  b &amp; c")
@example("&lt; &nbsp; &#36;")
def test_latex_is_byte_for_byte_what_it_was(math):
    """After entity decoding, wherever it stands."""
    formula, body = f"${math}$", html.escape(f"${math}$")
    for around in (
        "{}",
        "<p>{}</p>",
        "<p>let <em>x</em> be {} or so</p>",
        "<blockquote><p>{}</p></blockquote>",
        "<ul><li>{}</li><li><p>b</p></li></ul>",
        "<ol><li><p>a</p><ul><li>{}</li></ul></li></ol>",
        "<table><tr><td>{}</td><td>b</td></tr></table>",
        "<h2>{}</h2>",
        '<a href="/q/1">{}</a>',
        "<strong>{}</strong>",
    ):
        assert formula in shown(around.format(body))
    assert shown(f"<p>{body}</p>") == formula


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("", ""),
        ("<!-- nothing -->", ""),
        ("<p>$a&lt;b$ and $c &amp; d$</p>", "$a<b$ and $c & d$"),
        ("<p>one</p>\n\n<p>two\nlines</p>\n", "one\n\ntwo\nlines"),
        ("<p>a<br>\nb<br/>c</p>", "a\nb\nc"),
        ("<h1>Top</h1><h3>Low</h3><hr>", "# Top\n\n### Low\n\n---"),
        ("<ul>\n<li>a</li>\n<li><p>b</p><p>c</p></li></ul>", "- a\n- b\nc"),
        ('<ol start="3"><li>a<ul><li>b</li></ul></li><li>c</li></ol>', "3. a\n  - b\n4. c"),
        ("<ul><li>a<ul><li>b</li></ul>c</li></ul>", "- a\n  - b\nc"),
        (
            "<ol><li><p>Suppose that:</p><ul><li>$x=1$</li><li>$y=2$</li></ul><p>Then find $z$.</p>"
            "</li><li>b</li></ol>",
            "1. Suppose that:\n  - $x=1$\n  - $y=2$\nThen find $z$.\n2. b",
        ),
        ("<ul><li>$x$<ul><li>a</li></ul><b>$y$</b></li></ul>", "- $x$\n  - a\n$y$"),
        ("<ul><li><ul><li>a</li></ul></li><ol><li>b</li></ol></ul>", "-\n  - a\n  1. b"),
        ("<ul><li>a<div><ul><li>b</li></ul></div></li></ul>", "- a\n  - b"),
        ("<ul>Hello $x$<li>a</li> tail $y$</ul>", "Hello $x$\n- a\ntail $y$"),
        ("<ul></ul>a<table><tr></tr><td></td></table>b", "a\n\nb"),
        (
            "<blockquote><p>a</p><blockquote>b</blockquote></blockquote>c",
            "[quote]\na\n\n[quote]\nb\n[/quote]\n[/quote]\n\nc",
        ),
        ("<blockquote></blockquote>", ""),
        ("<pre><code>if a &lt; b:\n    c\n</code></pre>", "```\nif a < b:\n    c\n```"),
        ("<pre>a ``` b</pre>", "````\na ``` b\n````"),
        ("<pre>a<br>b</pre> <code>a<br>b</code>", "```\na\nb\n```\n\n`a\nb`"),
        ("<p>call <code>f(x)</code></p>", "call `f(x)`"),
        ("<p><code>`</code></p>", "``\n`\n``".replace("\n", "")),
        (
            "<table><thead><tr><th>n</th><th>$n^2$</th></tr></thead>"
            "<tbody><tr><td>1</td><td>1</td></tr></tbody></table>",
            "| n | $n^2$ |\n| --- | --- |\n| 1 | 1 |",
        ),
        (
            "<table>$x$<caption>Powers</caption><tr>so<td>1</td> or<td></td></tr>and</table>",
            "$x$\nPowers\n| so | 1 | or |  |\nand",
        ),
        (
            "<table><tr><td>a<table><tr><td>b</td></tr></table></td><td>c</td></tr></table>",
            "| a\n\n| b | | c |",
        ),
        ('<a href="https://x.org/a">here</a>', "here (https://x.org/a)"),
        ('<a href="/q/7">there</a>', "there (https://math.stackexchange.com/q/7)"),
        ('<a href="https://x.org">https://x.org</a>', "https://x.org"),
        ('<a href="https://x.org"></a>', "https://x.org"),
        ('<a href="javascript:x">no</a> <a name="b">b</a>', "no b"),
        ('<a href="http://[">broken</a>', "broken (http://[)"),
        ("x<sup>2</sup> + a<sub>10</sub>", "x^2 + a_{10}"),
        ("<sub>a whole sentence, small</sub>", "a whole sentence, small"),
        ("<s>wrong</s> right", "~~wrong~~ right"),
        ("<script>a</script><style>b</style>c", "c"),
        ("<p>never closed <b>bold <i>both", "never closed bold both"),
        ("&epsilon;&nbsp;&#x3C0; &amp;lt;", "ε\xa0π &lt;"),
    ],
)
def test_what_is_around_texts_can_be_read(body, text):
    """Paragraphs, lists, quotes, code, tables, links; and no mark where nothing was."""
    assert shown(body) == text


def test_images_are_marked_and_counted():
    """By what they show, if somebody has said so; a link around one says no more."""
    body = (
        '<p><img src="a.png" alt="a  triangle"> and <img src="b.png" '
        'alt="enter image description here"></p><a href="c.png"><img src="c.png"></a>'
    )
    assert text_of(body) == ("[image: a triangle] and [image]\n\n[image]", 3)
    body = '<pre>a <img alt="a  b"> c</pre><p><code><b><img></b></code></p>'
    assert text_of(body) == ("```\na [image: a b] c\n```\n\n`[image]`", 2)


@st.composite
def trees(draw: st.DrawFn) -> tuple[str, list[str]]:
    """Some HTML, and its texts in order: each is there once, for it has its number around it."""
    texts: list[str] = []

    def inner(depth: int) -> str:
        parts = []
        for _ in range(draw(st.integers(0, 3))):
            if draw(st.booleans()):
                texts.append(f"⟨{len(texts)}⟩{draw(MATH)}⟨{len(texts)}⟩")
                parts.append(html.escape(texts[-1]))
            elif depth:
                parts.append(draw(st.sampled_from(AROUND)).format(inner(depth - 1)))
        return draw(st.sampled_from(("", "\n", " "))).join(parts)

    return inner(5), texts


@settings(deadline=None)
@given(trees())
def test_every_text_comes_out_once_and_in_its_place(tree):
    """Whatever is within whatever, and also where it has no business to be."""
    body, texts = tree
    made = shown(body)
    assert [made.count(text) for text in texts] == [1] * len(texts)
    assert sorted(texts, key=made.index) == texts


@pytest.mark.parametrize(
    ("bomb", "reason"),
    [
        ("<b>" * 60_000, "nested_too_deeply"),
        ("<div>" * 150 + "x" + "</div>" * 150, "nested_too_deeply"),
        ("<ul><li>" * 20_000, "nested_too_deeply"),
        ("<table><tr><td>" * 10_000, "nested_too_deeply"),
        ("<blockquote>" * 101, "nested_too_deeply"),
        ("<b>" * 30_000 + "</i>" * 25_000, "nested_too_deeply"),
        ("".join(f"<font a={n}>" for n in range(9_000)) + "<p>x" * 9_000, "nested_too_deeply"),
        ("x" * 1_000_000, "too_long"),
        ("<p>" * 60_000, ""),
        ("&lt;" * 50_000, ""),
        ("<" * 200_000, ""),
        ("<a" * 100_000, ""),
        ("<!--" * 50_000, ""),
        ("<a " + " ".join(f"a{n}=1" for n in range(20_000)) + ">x</a>", ""),
        ("<a href='" + "x" * 190_000, ""),
        ("<select>" + "<option>x" * 20_000, ""),
        ("\0\x01\x0b\ufffe\U0010ffff" * 1_000, ""),
    ],
    ids=lambda value: repr(value[:12]),
)
def test_a_bomb_is_a_fault_or_a_text_in_bounded_time(bomb, reason):
    """Neither the stack nor the clock is exhausted."""
    began = time.process_time()
    made = text_of(bomb)
    assert time.process_time() - began < 10
    assert (made.reason if isinstance(made, Fault) else "") == reason


@pytest.mark.parametrize("levels", [2, 20, 45])
def test_what_is_nested_takes_time_and_text_by_its_length(levels):
    """A table in a cell is printed once, however many are around it."""
    for begin, end in (("<table><tr><td>", "</td></tr></table>"), ("<ul><li>", "</li></ul>")):
        for bomb in (begin * levels, begin * levels + "inner" + end * levels):
            began = time.process_time()
            made = shown(bomb)
            assert time.process_time() - began < 1
            assert len(made) < 10 + 8 * levels + levels**2 * begin.startswith("<ul>")
            assert made.count("inner") == bomb.count("inner")
