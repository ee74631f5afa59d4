"""Which TeX is typeset in the user's own page."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moat_nb.jupyter.output.tex import MOST_BACKWARD, is_plain_tex

SYMPY = Path(__file__).with_name("sympy_formulas.txt").read_text().splitlines()
"""Of `sympy.latex` 1.14, for expressions of many kinds; each brings a new macro."""

NOTES = [
    r"$$\hat{H}\,\lvert\psi\rangle = i\hbar\,\partial_t \lvert\psi\rangle$$",
    r"\[ \nabla\cdot\mathbf{E} = \frac{\rho}{\varepsilon_0} \qquad \oint_{\partial S} \]",
    r"\begin{align*} a &= b + c \\ &\approx \text{const.} \tag{1} \label{eq:a} \end{align*}",
    r"\begin{equation}\label{x} y = \begin{cases} 1 & x > 0 \\[4pt] 0 & \text{else}"
    r"\end{cases}\end{equation} as in \eqref{x}",
    r"$\begin{array}{l|cr} a & b & c \\ \hline 1 & 2 & 3 \end{array}$",
    r"$\operatorname*{arg\,max}_{\theta} \log \mathcal{L}(\theta \mid x)$",
    r"$\hat\beta = (X^\top X)^{-1} X^\top y,\quad y \sim \mathcal{N}(\mu, \sigma^2)$",
    r"$R^2 = 0.95\,(p < 10^{-3}),\ \chi^2_{\mathrm{red}} = 1.02,\; n = 1{,}000$",
    r"$\color{red} x + \textcolor{#00ff00}{y}$",
    r"$\underbrace{a+\dots+z}_{26} \xrightarrow[\text{below}]{\text{above}} \cancel{x}$",
    r"$\left\{ x \in \mathbb{R} \,\middle|\, \lVert x \rVert_2 \leq 1 \right\}$",
    r"a \hspace{1cm} b \hspace*{0.5em} \% \& \# \_ \$ 5 {\rm d}x \! \! \big( \Big] \bigg/",
]

ACTS = [
    r"\href{javascript:alert(1)}{x}",
    r"\unicode[x;background:url(//a.test)]{x41}",
    r"\unicode{65}",
    *(r"\class{jp-x}{y}", r"\style{position:fixed}{y}", r"\cssId{main}{y}", r"\data{a=b}{y}"),
    *(r"\bbox[red,border:9px solid]{x}", r"\enclose{box}[style='x']{y}", r"\cancel[x=y]{z}"),
    *(r"\toggle{a}{b}\endtoggle", r"\mathtip{a}{b}", r"\texttip{a}{b}", r"\verb|x|"),
    *(r"\require{html}", r"\mmlToken{mi}[onclick='x']{y}", r"\csname href\endcsname{a}{b}"),
    *(r"\def\alpha{x}", r"\let\alpha\href", r"\newcommand{\x}{y}", r"\renewcommand\alpha{y}"),
    *(r"\newenvironment{a}{b}{c}", r"\DeclareMathOperator{\sin}{x}", r"\catcode`\@=11"),
    *(r"\char`\h", r"\mathchoice{a}{b}{c}{d}", r"\ce{H2O}", r"\definecolor{a}{rgb}{1,1,1}"),
    *(r"\color{url(//a.test)}x", r"\color[rgb]{1,0,0}x", r"\colorbox{red}{x}", r"\color red"),
    *(r"\begin{html}x\end{html}", r"\begin{a\b}", r"\begin %", r"\begin{CD}", r"\begin"),
    *(r"\begin{array}{c@{\href{a}{b}}c}", r"\begin{array}{p{100em}}", r"\begin{array}x"),
    *(r"\rule{100em}{100em}", r"\hspace{-100em}", r"\hspace{1000em}", r"\kern-100em", r"\llap{x}"),
    *(r"\raise 99em x", r"\\[-9em]", r"\\ [1000em]", r"\\ *[x]", r"\mathrlap{x}", r"\genfrac"),
    *("\\\u017ftyle", "\\alpha\u017f", "\\in\u212a", "\\\xe9", "\\\x00", "\\\u202e"),
    *(r"\Href", r"\HREF{a}{b}", r"\un icode", r"\alphahref", r"\1", r"\@"),
    r"\!" * (MOST_BACKWARD + 1),
]


@pytest.mark.parametrize("text", [*SYMPY, *NOTES])
def test_what_people_and_their_programs_write_is_typeset(text: str) -> None:
    assert is_plain_tex(text)


@pytest.mark.parametrize("text", ACTS)
def test_what_links_styles_defines_or_moves_is_not(text: str) -> None:
    assert not is_plain_tex(text)
    assert not is_plain_tex(rf"$\text{{\frac{{{text}}}{{b}}}}$ % {text}")


PIECES = st.sampled_from(
    ["\\", "\\\\", "{", "}", "$", " ", "%", "\n", "h", "\\frac", "\\begin{array}"]
)


@given(st.lists(PIECES | st.text(max_size=3), max_size=12).map("".join), st.sampled_from(ACTS))
def test_nothing_that_stands_before_or_behind_makes_it_plain(before: str, act: str) -> None:
    # A backslash, or a letter that goes on the name of a macro, makes another of it.
    assert not is_plain_tex(before.rstrip("\\") + " " + act + " " + before)
