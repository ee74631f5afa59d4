"""Markdown of a sandbox's: it looks as always, and no front end is given any."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moat_nb.jupyter.output.iframe import BEGIN
from moat_nb.jupyter.output.markdown import LONGEST, MAX_STOPS, STOPS, as_html, is_readable
from moat_nb.jupyter.output.safe import sanitise_mimebundle
from tests.unit.jupyter.output.test_sanitise import PIECES, assert_harmless

PLAIN_MARKDOWN = [
    "# A title\n\n- *one*\n- **two**\n",
    "`a < b` and 1 < 2 and <https://example.com/>",
    "a [link](https://example.com/) and [another](#here) and [mail](mailto:a@example.com)",
    '<b>bold</b> H<sub>2</sub>O<br/> <div align="center">x</div>',
    "![plot](data:image/png;base64,iVBORw0KGgo=)",
    "$\\frac{1}{2}$ and an exclamation!",
    "```python\nmermaid = 1\n```",
    "| a | b |\n|---|---|\n| 1 | 2 |",
]

ACTIVE_MARKDOWN = [
    "<script>1</script>",
    "`<!--` <script>1</script> `-->`",
    '`<a title="` <img src=x onerror=1> `">`',
    "[x](javascript:alert(1))",
    "[x](java&#115;cript:alert(1))",
    "[x]\n\n[x]: javascript:alert(1)",
    "<javascript:alert(1)>",
    "[x](data:text/html,x)",
    "![x](https://example.com/?secret)",
    "![x](/logout)",
    "![x][y]\n\n[y]: https://example.com/",
    "<b onclick=1>x</b>",
    "<div style=position:fixed>x</div>",
    "$\\href{javascript:alert(1)}{x}$",
    "<!-- x -->",
    "<?php",
    '![$" onerror="document.title=1" y="$](data:image/png;base64,AAAA)',
    "<div>\n<https://x/onmouseover=alert(1)>\nhover\n</div>",
    '[x](https://a "$" onmouseover=alert(1) y="$")',
    '![@@0@@](data:image/png;base64,AAAA) $" onerror=alert(1) y="$',
    "&#36;\\def\\x#1{\\hr&#101;f{#1:alert(1)}{x}}\\x{javascript}&#36;",
    "$\\hr**ef{javascript:alert(1)}**$",
    "```" + " " * 100 + "mermaid\ngraph TD; a-->b\n```",
    "```mermaid\ngraph TD; a-->b\n```",
]


def shown(text: str) -> str:
    data, _, hints = sanitise_mimebundle({"text/markdown": text}, {})
    assert set(data) == {"text/html"} and hints == []
    return str(data["text/html"])


def assert_harmless_or_framed(page: str) -> None:
    if not page.startswith(BEGIN):
        assert_harmless(page)


@pytest.mark.parametrize("text", PLAIN_MARKDOWN)
def test_plain_markdown_is_shown_in_the_page(text: str) -> None:
    assert_harmless(shown(text))


@pytest.mark.parametrize("text", ACTIVE_MARKDOWN)
def test_markdown_that_acts_or_loads_does_not_in_the_page(text: str) -> None:
    assert_harmless_or_framed(shown(text))


MARKS = st.sampled_from(["$", "$$", "![", "](", ")", "<https://", "```", "\\\\(", "\n", "@@0@@"])


@given(st.lists(MARKS | PIECES | st.text(max_size=4), max_size=12).map("".join))
def test_whatever_is_written_nothing_of_it_acts_in_the_page(text: str) -> None:
    assert_harmless_or_framed(shown(text))


@pytest.mark.parametrize(
    ("text", "page"),
    [
        ("# A title", "<h1>A title</h1>\n"),
        ("a *b*  \nc", "<p>a <em>b</em><br>\nc</p>\n"),
        ("H<sub>2</sub>O", "<p>H<sub>2</sub>O</p>\n"),
        ("$a_b$ and *c* $d_e$", "<p>$a_b$ and <em>c</em> $d_e$</p>\n"),
        ("\\\\(a_b *c*\\\\) *d*", "<p>\\(a_b *c*\\) <em>d</em></p>\n"),
        ("$a<b$", "<p>$a&lt;b$</p>\n"),
        ("**$x$**", "<p><strong>$x$</strong></p>\n"),
        ("\\$5 and \\$6", "<p>\\$5 and \\$6</p>\n"),
        ("5 $ and *x*\n\n6 $", "<p>5 $ and <em>x</em></p>\n<p>6 $</p>\n"),
        ("`$` or `$`", "<p><code>$</code> or <code>$</code></p>\n"),
        ("$$\na_b\n- c\n$$\nafter", "<p>$$\na_b\n- c\n$$</p>\n<p>after</p>\n"),
        (
            "\\begin{align}\na &= b \\\\\n= c_d_e\n\\end{align}",
            "<p>\\begin{align}\na &amp;= b \\\\\n= c_d_e\n\\end{align}</p>\n",
        ),
        ("- $$a$$\n- b", "<ul>\n<li>$$a$$</li>\n<li>b</li>\n</ul>\n"),
    ],
)
def test_it_becomes_what_it_says_and_formulas_stay_as_they_are(text: str, page: str) -> None:
    assert shown(text) == page


@pytest.mark.parametrize(
    "text",
    [
        "x" * (LONGEST + 1),
        "![" * MAX_STOPS,
        "|" + "a|" * 1000 + "\n|" + "-|" * 1000 + "\n" + "|\n" * 3000,
    ],
)
def test_markdown_that_would_take_long_is_shown_as_its_text(text: str) -> None:
    data, _, (hint,) = sanitise_mimebundle(
        {"text/markdown": text, "text/plain": "<Markdown object>"}, {}
    )
    assert data == {"text/plain": text}
    assert "--trust" in hint


def test_long_documents_and_tables_of_an_ordinary_kind_are_read() -> None:
    row = "| a | b | c | d | e | f |\n"
    table = f"{row}{'|-' * 6}|\n{row * 500}"
    image = f"![x](data:image/png;base64,{'A/g9' * 20_000})"
    assert is_readable("\n\n".join(["# A heading", "Some *words*, `code`. " * 50] * 20))
    assert is_readable(f"{table}\n\n{image}")


@pytest.mark.parametrize(
    "piece",
    ["![", "[x](", "*a", "`", "$ ", "\\begin{a}", "\\\\[x", "> ", "- ", "[a][", "|a", "<a "],
)
def test_a_text_with_many_marks_is_read_in_a_bounded_time(piece: str) -> None:
    """What takes the square of the length would meet pytest's timeout."""
    text = piece * (MAX_STOPS // sum(map(piece.count, STOPS)))
    assert is_readable(text)
    as_html(text + "a" * (LONGEST - len(text)))
