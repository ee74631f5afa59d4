"""Which HTML and LaTeX of a sandbox's may be shown in the user's own page."""

from __future__ import annotations

from html.parser import HTMLParser

import pandas
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from moat_nb.jupyter.output.sanitise import (
    ATTRIBUTES,
    LONGEST,
    MAX_MARKS,
    NO_MATH,
    TAGS,
    is_plain_latex,
    plain_html,
)

PLAIN = [
    "",
    "<b>bold</b> and <i>italic</i>",
    "<p style='color: red; text-align: right'>red</p>",
    "<a href='https://example.com/'>a link</a>",
    "<a href='#below'>a link</a>",
    "<a href='https://example.com/' rel='nofollow'>a link</a>",
    "<img src='data:image/png;base64,iVBORw0KGgo='>",
    "<table><tr><td colspan=2>1<td>2</table>",
    "<!-- a comment --><i>text</i>",
    "<div class='output' id='x1' data-row='3' role='note' aria-label='x'>text</div>",
    "$x^2$ and \\(y\\)",
    "<div><style>\n.dataframe > thead > tr,\n.dataframe > tbody > tr {\n  text-align: right;\n"
    "  white-space: pre-wrap;\n}\n</style>\n<table border='1' class='dataframe'></table></div>",
    "<pre style='white-space:pre;overflow-x:auto;font-family:Menlo'>of rich</pre>",
    "<span style='color: #808000; text-decoration-color: #808000'>of rich</span>",
    "C:\\data\\style costs 5",
]

ACTIVE = [
    "<script>1</script>",
    "<SCRIPT\n>1</SCRIPT >",
    "<img src=x onerror=alert(1)>",
    "<body onload=alert(1)>",
    "<a href='javascript:alert(1)'>x</a>",
    "<a href=' java\tscript:alert(1)'>x</a>",
    "<a href='&#106;avascript:alert(1)'>x</a>",
    "<a href='data:text/html,<script>1</script>'>x</a>",
    "<iframe src='/lab'></iframe>",
    "<iframe srcdoc='<script>1</script>'></iframe>",
    "<object data=x></object>",
    "<embed src=x>",
    "<form action='/api/contents'><button>Log in</button></form>",
    "<input autofocus onfocus=alert(1)>",
    "<meta http-equiv=refresh content='0;url=https://example.com/'>",
    "<base href='https://example.com/'>",
    "<link rel=stylesheet href='https://example.com/x.css'>",
    "<style>body {display: none}</style>",
    "<style scoped>.dataframe th {background: url(https://example.com/)}</style>",
    "<style scoped>.dataframe th {color: red} body {display: none}",
    "<svg onload=alert(1)></svg>",
    "<svg><script>1</script></svg>",
    "<svg><a xlink:href='javascript:alert(1)'><text>x</text></a></svg>",
    "<math><mtext><style><img src=x onerror=alert(1)></style></mtext></math>",
    "<div style='position: fixed; inset: 0'>Log in again</div>",
    "<div style='z-index: 9'>x</div>",
    "<div style='background: url(https://example.com/)'>x</div>",
    "<div style='margin-top: -500px'>over the others</div>",
    "<img src='https://example.com/?secret'>",
    "<img src='/logout'>",
    "<img srcset='https://example.com/ 2x' src='data:image/png;base64,AA=='>",
    "<video src='https://example.com/'></video>",
    "<marquee onstart=alert(1)>x</marquee>",
    "<details ontoggle=alert(1) open>x</details>",
    "x" * (LONGEST + 1),
]


@pytest.mark.parametrize("text", PLAIN)
def test_plain_html_is_shown_in_the_page(text: str) -> None:
    assert plain_html(text) is not None


@pytest.mark.parametrize("text", ACTIVE)
def test_html_that_acts_loads_or_covers_is_not_shown_in_the_page(text: str) -> None:
    assert plain_html(text) is None


@pytest.mark.parametrize("comment", ["<!-->{}-->", "<!--->{}-->", "<!-- --!>{}-->"])
def test_a_comment_ends_where_a_browser_has_it_end(comment: str) -> None:
    assert plain_html(comment.format("<div>" * 20_000)) is None
    assert plain_html("<p>a<!-- <b> > - -- -->b</p>") == "<p>ab</p>"


def test_a_table_of_pandas_is_plain_and_keeps_what_it_shows() -> None:
    frame = pandas.DataFrame({"city": ["Oslo", "<Lima>"]}, index=["a", "b"])
    shown = plain_html(frame._repr_html_())
    assert shown is not None
    assert 'class="dataframe"' in shown and "&lt;Lima&gt;" in shown


def test_the_pages_own_classes_and_ids_are_not_for_output() -> None:
    text = "<div class='jp-Dialog dataframe' id='main' data-commandlinker-command='x'>text</div>"
    assert plain_html(text) == '<div class="dataframe">text</div>'


def test_a_link_opens_elsewhere_and_gives_no_opener() -> None:
    shown = plain_html("<a href='https://example.com/' target='_top'>x</a>")
    assert shown is not None
    assert 'rel="noopener noreferrer"' in shown and "_top" not in shown


class Elements(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))


PIECES = st.sampled_from(
    [
        *("<script>", "</script>", "<style>", "</style>", "<svg>", "</svg>", "<math>", "<title>"),
        *("<!--", "-->", "<![CDATA[", "]]>", "<textarea>", "<noscript>", "<template>", "<xmp>"),
        *("<p ", "<a href=", "<img src=", "onerror=1", "style='", "'", '"', ">", "/>", "`", "\\"),
        *("javascript:", "data:", "position:fixed", "&lt;", "&#60;", "&colon;", "\x00", "x", " "),
        *("<table>", "<td>", "<b>", "</b>", "<iframe>", "<plaintext>", "<select>", "<option>"),
    ]
)
TEXTS = st.lists(PIECES | st.text(max_size=4), max_size=12).map("".join)


def assert_harmless(shown: str) -> None:
    """HTML of nothing but elements that the sanitiser keeps."""
    for tag, attributes in Elements(shown).found:
        assert tag in TAGS
        allowed = ATTRIBUTES["*"] | ATTRIBUTES.get(tag, set()) | {"rel"}
        assert set(attributes) <= allowed
        assert "script:" not in (attributes.get("href") or "")
        assert (attributes.get("src") or "data:image/").startswith("data:image/")


@given(TEXTS)
def test_whatever_comes_in_what_is_shown_has_only_harmless_elements(text: str) -> None:
    assert_harmless(plain_html(text) or "")


@given(TEXTS)
@example("<a href=x>")
@example("\\javascript:$")
def test_what_is_shown_is_shown_again_as_it_is(text: str) -> None:
    shown = plain_html(text)
    if shown is not None:
        # What MathJax must leave alone is wrapped once more: a wrapper may be followed by others.
        assert plain_html(shown) in (shown, NO_MATH.format(shown))


VALUES = {
    **{"href": "https://example.com/", "src": "data:image/png;base64,AA==", "open": ""},
    **{"style": "color: red", "class": "dataframe", "align": "right", "datetime": "2020-01-01"},
}


@st.composite
def elements(draw: st.DrawFn, depth: int = 3) -> tuple[str, str]:
    """HTML of allowed elements, and the same with one thing in it that acts."""
    tag = draw(st.sampled_from(sorted(TAGS - {"table", "td", "tr", "th", "col", "colgroup"})))
    names = sorted(ATTRIBUTES["*"] | ATTRIBUTES.get(tag, set()))
    chosen = draw(st.lists(st.sampled_from(names), unique=True, max_size=3))
    attributes = "".join(f' {name}="{VALUES.get(name, "1")}"' for name in chosen)
    if depth and draw(st.booleans()):
        plain, active = draw(elements(depth - 1))
        return f"<{tag}{attributes}>{plain}</{tag}>", f"<{tag}{attributes}>{active}</{tag}>"
    acts = draw(st.sampled_from([" onclick=alert(1)", ' style="position: fixed"', " srcdoc=x"]))
    script = draw(st.sampled_from(["<script>1</script>", "<img src=x>", "<svg onload=1>"]))
    plain = f"<{tag}{attributes}>words</{tag}>"
    if draw(st.booleans()):
        return plain, f"<{tag}{acts}{attributes}>words</{tag}>"
    return plain, f"<{tag}{attributes}>words{script}</{tag}>"


@given(elements())
def test_allowed_elements_are_plain_and_one_thing_that_acts_among_them_is_not(
    texts: tuple[str, str],
) -> None:
    plain, active = texts
    shown = plain_html(plain)
    assert shown is not None
    assert_harmless(shown)
    assert plain_html(active) is None


@pytest.mark.parametrize(
    "piece",
    [
        *("<", "<a ", "<!", "<!--", "&", "</", "<a x='", "<b><!-", "<?", "<a x ", " ", "<b ='"),
        *("<style>", "<style>.dataframe a ", "$\\href", "<b x=y "),
    ],
)
def test_a_long_text_is_decided_in_a_moment(piece: str) -> None:
    """A parser that takes the square of the length would meet pytest's timeout."""
    for text in (piece * (LONGEST // len(piece)), "<b>" + piece[:1] + piece[1:] * LONGEST):
        plain_html(text[:LONGEST])
        is_plain_latex(text[:LONGEST])


def nested(tag: str, depth: int) -> str:
    return f"<{tag}>" * depth + "x" + f"</{tag}>" * depth


@pytest.mark.parametrize(
    "text",
    [
        *(nested(tag, 5000) for tag in ("div", "ul", "b", "span", "blockquote")),
        "<ul><li>" * 5000,
        "<table><tr><td>" * 5000,
        "<b><i></b></i>" * 5000,
        "<p>" + "".join(f"<font color={n}>" for n in range(300)) + "</p><p>x</p>" * 1000,
        "<table><b>" * 500 + "<tr>x</tr>" * 1000,
        "<a>" * 2000,
        f"<i {' '.join(f'data-{n}' for n in range(5000))}>x</i>",
        "&" * (MAX_MARKS + 1),
    ],
)
def test_what_would_take_a_parser_long_is_not_looked_into(text: str) -> None:
    """The parser would take the square of its length, and meet pytest's timeout."""
    assert plain_html(text * (LONGEST // len(text))) is None


def test_a_large_table_and_a_long_text_are_plain() -> None:
    table = pandas.DataFrame([[str(n) for n in range(20)]] * 200).to_html()
    lists = "<h2>x</h2><p><b>a</b> <a href='#x'><code>b</code></a></p><ul><li>c<li>d</ul>" * 500
    for text in (table, lists, nested("div", 50) * 50):
        assert plain_html(text) is not None


IGNORED = '<div class="mathjax_ignore tex2jax_ignore">'


@pytest.mark.parametrize(
    "text",
    [
        "<p>$\\href{javascript:alert(1)}{x}$</p>",
        "<p>$\\unicode[x;background:url(http://a.test)]{x41}$</p>",
        "<p>$</p><p>\\uni<b></b>code{65}$</p>",
        "<p>$\\hr<!-- -->ef{javascript:alert(1)}{x}$</p>",
        "<p>$\\hr<wbr title='>'>ef{javascript:alert(1)}{x}$</p>",
        "<p>$&#92;style{position:fixed}{x}$</p>",
        "<p>$\\uni<!-- -->code{65}$</p>",
        "<p>$&#92;class{x}{y}$</p>",
        "<p>\\begin{align}\\style{x}{y}\\end{align}</p>",
        "<p>\\(\\def\\alpha{x}\\)</p>",
        "<p>it costs $5, in C:\\temp</p>",
        "<div class='mathjax_ignore'>x</div>$\\require{html}$",
    ],
)
def test_html_with_formulas_that_do_more_than_show_is_shown_with_their_text(text: str) -> None:
    shown = plain_html(text)
    assert shown is not None
    assert shown.startswith(IGNORED) and shown.endswith("</div>")
    assert_harmless(shown)


@pytest.mark.parametrize(
    "text",
    [
        "<p>$\\frac{a}{b} &lt; \\alpha$</p>",
        "<table><tbody><tr><td>$\\alpha$</td><td>x</td></tr></tbody></table>",
        "<p>in C:\\temp\\unicode</p>",
    ],
)
def test_html_with_plain_formulas_or_none_is_left_to_the_front_end(text: str) -> None:
    shown = plain_html(text)
    assert shown is not None and IGNORED not in shown


def test_latex_is_plain_as_its_formulas_are() -> None:
    assert is_plain_latex("$a < \\frac{b}{c}$")
    assert not is_plain_latex("$\\href{javascript:alert(1)}{a}$")
    assert not is_plain_latex("x" * (LONGEST + 1))


def test_half_a_character_is_shown_as_one_that_is_missing() -> None:
    assert plain_html("<b>\ud800</b>") == "<b>\N{REPLACEMENT CHARACTER}</b>"
