"""TeX that front ends may typeset in the user's own page: macros of a list, and no others.

Front ends run MathJax over LaTeX and over the text of HTML. It has macros that make links, styles,
attributes, scripts of other packages and definitions that outlast the output, and its extensions
bring more with each version; so nothing passes that is not known to show and do no more.
"""

from __future__ import annotations

import re

__all__ = ["is_plain_tex"]

# As MathJax reads a control sequence; to its regular expression, which folds case by Unicode, a
# long s and the sign of Kelvin are letters too.
_SEQUENCE = re.compile(r"\\(?:([A-Za-z\u017f\u212a]+)|(.))", re.DOTALL)

_CHARACTERS = frozenset(",:;>!| {}$%&#_()[]'`\"^~=./-\n")
"""What may follow a backslash, beside another one and the names below."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


MOST_BACKWARD = 50
"""Negative spaces in one text: many of them put one thing over another."""

_NAMES = _words(
    """
aleph alpha amalg And angle approx approxeq Arrowvert arrowvert ast asymp backepsilon backprime
backsim backsimeq backslash barwedge Bbbk because beta beth between bigcap bigcirc bigcup
bigodot bigoplus bigotimes bigsqcup bigstar bigtriangledown bigtriangleup biguplus bigvee
bigwedge blacklozenge blacksquare blacktriangle blacktriangledown blacktriangleleft
blacktriangleright bot bowtie Box boxdot boxminus boxplus boxtimes bracevert bullet Bumpeq
bumpeq Cap cap cdot cdotp cdots centerdot checkmark chi circ circeq circlearrowleft
circlearrowright circledast circledcirc circleddash circledR circledS clubsuit colon complement
cong coprod Cup cup curlyeqprec curlyeqsucc curlyvee curlywedge curvearrowleft curvearrowright
dagger daleth dashleftarrow dashrightarrow dashv ddagger ddots Delta delta diagdown diagup
Diamond diamond diamondsuit digamma div divideontimes divsymbol Doteq doteq doteqdot dotplus
dotsb dotsc dotsi dotsm dotso doublebarwedge doublecap doublecup Downarrow downarrow
downdownarrows downharpoonleft downharpoonright ell emptyset epsilon eqcirc eqsim eqslantgtr
eqslantless equiv eta eth exists fallingdotseq Finv flat forall frown Game Gamma gamma ge geq
geqq geqslant gets gg ggg gggtr gimel gnapprox gneq gneqq gnsim gt gtrapprox gtrdot gtreqless
gtreqqless gtrless gtrsim gvertneqq hbar heartsuit hookleftarrow hookrightarrow hslash iiiint
iiint iint Im imath in infty int intercal intop iota jmath Join kappa Lambda lambda land langle
lbrace lbrack lceil ldotp ldots le leadsto Leftarrow leftarrow leftarrowtail leftharpoondown
leftharpoonup leftleftarrows Leftrightarrow leftrightarrow leftrightarrows leftrightharpoons
leftrightsquigarrow leftthreetimes leq leqq leqslant lessapprox lessdot lesseqgtr lesseqqgtr
lessgtr lesssim lfloor lgroup lhd ll llcorner Lleftarrow lll llless lmoustache lnapprox lneq
lneqq lnot lnsim Longleftarrow longleftarrow Longleftrightarrow longleftrightarrow longmapsto
Longrightarrow longrightarrow looparrowleft looparrowright lor lozenge lparen lrcorner Lsh lt
ltimes lVert lvert lvertneqq maltese mapsto measuredangle mho mid models mp mu multimap nabla
natural ncong ne nearrow neg neq nexists ngeq ngeqq ngeqslant ngtr ni nLeftarrow nleftarrow
nLeftrightarrow nleftrightarrow nleq nleqq nleqslant nless nmid notChar notin nparallel nprec
npreceq nRightarrow nrightarrow nshortmid nshortparallel nsim nsubseteq nsubseteqq nsucc nsucceq
nsupseteq nsupseteqq ntriangleleft ntrianglelefteq ntriangleright ntrianglerighteq nu nVDash
nVdash nvDash nvdash nwarrow odot oint Omega omega omicron ominus oplus oslash otimes owns
parallel partial perp Phi phi Pi pi pitchfork pm prec precapprox preccurlyeq preceq precnapprox
precneqq precnsim precsim prime prod propto Psi psi rangle rbrace rbrack rceil Re restriction
rfloor rgroup rhd rho Rightarrow rightarrow rightarrowtail rightharpoondown rightharpoonup
rightleftarrows rightleftharpoons rightrightarrows rightsquigarrow rightthreetimes risingdotseq
rmoustache rparen Rrightarrow Rsh rtimes rVert rvert searrow setminus sharp shortmid
shortparallel Sigma sigma sim simeq smallfrown smallint smallsetminus smallsmile smile spadesuit
sphericalangle sqcap sqcup sqsubset sqsubseteq sqsupset sqsupseteq square star Subset subset
subseteq subseteqq subsetneq subsetneqq succ succapprox succcurlyeq succeq succnapprox succneqq
succnsim succsim sum Supset supset supseteq supseteqq supsetneq supsetneqq surd swarrow tau
therefore Theta theta thickapprox thicksim times to top triangle triangledown triangleleft
trianglelefteq triangleq triangleright trianglerighteq twoheadleftarrow twoheadrightarrow
ulcorner unlhd unrhd Uparrow uparrow Updownarrow updownarrow upharpoonleft upharpoonright uplus
Upsilon upsilon upuparrows urcorner varDelta varepsilon varGamma varkappa varLambda varnothing
varOmega varPhi varphi varPi varpi varpropto varPsi varrho varSigma varsigma varsubsetneq
varsubsetneqq varsupsetneq varsupsetneqq varTheta vartheta vartriangle vartriangleleft
vartriangleright varUpsilon varXi Vdash vDash vdash vdots vee veebar Vert vert Vvdash wedge wp
wr Xi xi yen zeta
"""
)
"""Letters, operators, relations, arrows and delimiters: MathJax shows one character for each."""

_MACROS = _words(
    """
displaystyle textstyle scriptstyle scriptscriptstyle rm mit cal it bf bbFont scr frak sf tt
mathrm mathup mathnormal mathbf mathbfup mathit mathbfit mathbb Bbb mathfrak mathbffrak mathscr
mathbfscr mathsf mathsfup mathbfsf mathsfit mathbfsfit mathtt mathcal mathbfcal boldsymbol pmb
symrm symup symbf symit symbfit symbb symfrak symscr symsf symtt symcal
text textrm textup textnormal textit textbf textsf texttt mbox hbox fbox boxed emph
tiny Tiny scriptsize small normalsize large Large LARGE huge Huge
arcsin arccos arctan arg cos cosh cot coth csc deg det dim exp gcd hom inf ker lg lim liminf limsup
ln log max min Pr sec sin sinh sup tan tanh injlim projlim varliminf varlimsup varinjlim varprojlim
bmod pmod mod pod operatorname limits nolimits iff implies impliedby not
overline underline overbrace underbrace overparen underparen overrightarrow underrightarrow
overleftarrow underleftarrow overleftrightarrow underleftrightarrow overset underset overunderset
stackrel stackbin sideset substack buildrel acute grave ddot dddot ddddot tilde bar breve check hat
vec dot mathring widetilde widehat xleftarrow xrightarrow idotsint
frac dfrac tfrac cfrac binom dbinom tbinom sqrt over atop choose brace brack
left right middle big Big bigg Bigg bigl Bigl biggl Biggl bigr Bigr biggr Biggr bigm Bigm biggm
Biggm mathord mathop mathopen mathclose mathbin mathrel mathpunct mathinner vcenter
enspace quad qquad thinspace negthinspace space newline cr hline hdashline hfill nobreakspace
phantom vphantom hphantom smash strut mathstrut dots TeX LaTeX
nonumber notag tag label ref eqref bra ket braket Bra Ket Braket ketbra Ketbra
    """
)
"""These do something with what they are given, and only show it."""

_ENVIRONMENTS = "|".join(
    _words(
        """
equation align alignat aligned alignedat gather gathered multline split eqnarray flalign
matrix pmatrix bmatrix Bmatrix vmatrix Vmatrix smallmatrix cases dcases rcases subarray
        """
    )
)
_LENGTH = r" ?\d{0,2}(?:\.\d{1,4})? ?(?:em|ex|pt|pc|px|in|cm|mm|mu) ?"
_COLUMNS = r" ?(?:\[[tcb]\])? ?\{[lcr|: ]{1,200}\}"
_COLOUR = r" ?\{ ?(?:[A-Za-z]{1,30}|\#[0-9A-Fa-f]{3,6}) ?\}"

_FOLLOWED_BY = {
    "begin": re.compile(rf"\{{(?:(?:{_ENVIRONMENTS})\*?\}}|array\}}{_COLUMNS})"),
    "end": re.compile(rf"\{{(?:{_ENVIRONMENTS}|array)\*?\}}"),
    "color": re.compile(_COLOUR),
    "textcolor": re.compile(_COLOUR),
    "hspace": re.compile(rf"\*? ?\{{{_LENGTH}\}}"),
    "cancel": re.compile(r" ?[^\s\[]"),
    "bcancel": re.compile(r" ?[^\s\[]"),
    "xcancel": re.compile(r" ?[^\s\[]"),
    # A row's end, with or without a space below it.
    "\\": re.compile(rf"\*? ?(?:\[{_LENGTH}\]|(?!\s{{0,99}}\*?\s{{0,99}}\[)(?!\s{{99}}))"),
}
"""Macros that may stand with such an argument alone."""


def is_plain_tex(text: str) -> bool:
    """Whether all TeX in ``text`` is of the kind that only shows."""
    backward = 0
    for found in _SEQUENCE.finditer(text):
        name = found[1] or found[2]
        if name in _FOLLOWED_BY:
            if not _FOLLOWED_BY[name].match(text, found.end()):
                return False
        elif name not in _NAMES and name not in _MACROS and name not in _CHARACTERS:
            return False
        backward += name in ("!", "negthinspace")
    return backward <= MOST_BACKWARD
