"""excludes/edit.py: a mount's excludes changed in the text, and nothing else."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from moat_nb.config import yaml_nodes
from moat_nb.config.exclude_patterns import check_all
from moat_nb.errors import ConfigError, ConsentNeeded, EditError, MoatError
from moat_nb.excludes import set_excludes

W = "/workspace"


def read(text: str) -> Any:
    """An independent reader: PyYAML's own, every scalar a string."""
    return yaml.load(text, Loader=yaml.BaseLoader) or {}


def excludes_of(text: str, target: str = W) -> list[str]:
    for mount in read(text).get("mounts") or []:
        if isinstance(mount, dict) and mount.get("target") == target:
            found = mount.get("exclude")
            return found if isinstance(found, list) else []
    return []


def rest_of(text: str, target: str = W) -> Any:
    """All but the target's excludes; a mount that is a string as the object that it is."""
    content = read(text)
    mounts = content.get("mounts") or []
    for i, mount in enumerate(mounts):
        if isinstance(mount, str) and mount.split(":")[1:2] == [target]:
            keys = ("source", "target", "mode")
            mounts[i] = dict(zip(keys, mount.split(":"), strict=False))
        if isinstance(mount, dict) and mount.get("target") == target:
            mount.pop("exclude", None)
    return {**content, "mounts": mounts}


@pytest.fixture(params=["libyaml", "pure Python"], autouse=True, scope="module")
def loader(request: pytest.FixtureRequest) -> Any:
    """Both of PyYAML's parsers, whose marks must mean the same here."""
    before = yaml_nodes._LOADER
    yaml_nodes._LOADER = yaml.CSafeLoader if request.param == "libyaml" else yaml.SafeLoader
    yield
    yaml_nodes._LOADER = before


# ---------------------------------------------------------------- layouts, one by one

HEAD = "name: x  # é 😀\nmounts:\n"


@pytest.mark.parametrize(
    ("text", "excludes", "expected"),
    [
        pytest.param(
            HEAD + "  - source: .   # here\n    target: /workspace\n    exclude:   # what\n"
            "      # first\n      - a # one\n      - 'b'\n\n      # last\n      - c\nenv: {}\n",
            ["a", "new", "c", "**/x"],
            HEAD + "  - source: .   # here\n    target: /workspace\n    exclude:   # what\n"
            "      # first\n      - a # one\n      - new\n\n      # last\n      - c\n"
            '      - "**/x"\nenv: {}\n',
            id="a block list keeps its comments",
        ),
        pytest.param(
            HEAD + "- source: .\n  target: /workspace\n  exclude:\n  - a\n  - b\n  - c # x\nz: 1",
            ["c", "a"],
            HEAD + "- source: .\n  target: /workspace\n  exclude:\n  - c\n  - a\nz: 1",
            id="an order is changed, and what moves is written anew",
        ),
        pytest.param(
            HEAD + "  - source: .\n    target: /workspace\n    exclude:\n      - 'a'\n      - 'b'",
            ["a", "b", "c"],
            HEAD + "  - source: .\n    target: /workspace\n    exclude:\n      - 'a'\n      - 'b'\n"
            "      - 'c'",
            id="quotes that all have are given to the new, and no line break is added at the end",
        ),
        pytest.param(
            HEAD + "  - source: .\n    target: /workspace\n    exclude:  # none\n      - a\n",
            [],
            HEAD + "  - source: .\n    target: /workspace\n    exclude: []  # none\n",
            id="a block list is emptied",
        ),
        pytest.param(
            HEAD + "  - source: .\n    target: /workspace\n    exclude: [ a,  'b',  c ]  # x\n",
            ["b", ".env", "c"],
            HEAD + "  - source: .\n    target: /workspace\n    exclude: [ 'b', .env,  c ]  # x\n",
            id="a flow list",
        ),
        pytest.param(
            HEAD + "  - {source: ., target: /workspace, exclude: [a, b], mode: ro}\n",
            [],
            HEAD + "  - {source: ., target: /workspace, exclude: [], mode: ro}\n",
            id="a nested flow list is emptied",
        ),
        pytest.param(
            HEAD + "  - {source: ., target: /workspace}\n",
            ["-x", "123", "null", "a"],
            HEAD + '  - {source: ., target: /workspace, exclude: ["-x", "123", "null", a]}\n',
            id="a flow mapping without the key, and what needs quotes",
        ),
        pytest.param(
            HEAD + "  - target: /workspace\n    source: .  # c\n\n# end\n",
            ["a"],
            HEAD + "  - target: /workspace\n    source: .  # c\n    exclude:\n      - a\n\n# end\n",
            id="a block mapping without the key",
        ),
        pytest.param(
            HEAD + "  - target: /workspace\n    exclude:  # none yet\n    source: .\n",
            ["a"],
            HEAD + "  - target: /workspace\n    exclude: [a]  # none yet\n    source: .\n",
            id="a key without a value",
        ),
        pytest.param(
            HEAD + "  - source: .\n    target: /workspace\n    exclude: [\n      a, # x\n"
            "      # y\n      b # z\n    ]\n",
            ["b", "c"],
            HEAD + "  - source: .\n    target: /workspace\n    exclude: [\n"
            "      # y\n      b, # z\n      c,\n    ]\n",
            id="a flow list of a line to each item",
        ),
        pytest.param(
            HEAD + "  - source: .\n    target: /workspace\n    exclude: [a, b,\n      c, d]\n",
            ["b", "c", "e"],
            HEAD + "  - source: .\n    target: /workspace\n    exclude: [b,\n      c, e]\n",
            id="a flow list over lines",
        ),
        pytest.param(
            "kernel:\n  preload: &some [a]\nmounts:\n  - target: /workspace\n"
            "    source: .\n    exclude: *some\n",
            ["a", "b"],
            "kernel:\n  preload: &some [a]\nmounts:\n  - target: /workspace\n"
            "    source: .\n    exclude: [a, b]\n",
            id="an alias is written out, and the other user keeps its list",
        ),
        pytest.param(
            "x-base: &base {source: ., exclude: [a]}\nmounts:\n  - <<: *base\n    target: "
            "/workspace\n",
            ["b"],
            "x-base: &base {source: ., exclude: [a]}\nmounts:\n  - <<: *base\n    target: "
            "/workspace\n    exclude:\n      - b\n",
            id="what << brings is written out",
        ),
        pytest.param(
            "mounts:\r\n  - source: .\r\n    target: /workspace\r\n    exclude:\r\n      - a\r\n",
            ["a", "b"],
            "mounts:\r\n  - source: .\r\n    target: /workspace\r\n    exclude:\r\n      - a\r\n"
            "      - b\r\n",
            id="CRLF",
        ),
        pytest.param(
            "\ufeffmounts:\n  - source: .\n    target: /workspace\n    exclude:\n      - a",
            ["b", "a"],
            "\ufeffmounts:\n  - source: .\n    target: /workspace\n    exclude:\n      - b\n"
            "      - a",
            id="a byte order mark",
        ),
        pytest.param(
            "name: x\nmounts:\n- ~/data:/data:ro\n# c\n",
            ["a"],
            "name: x\nmounts:\n- ~/data:/data:ro\n- source: .\n  target: /workspace\n"
            "  exclude:\n    - a\n# c\n",
            id="the implicit mount, beside others",
        ),
        pytest.param(
            "name: x\nmounts: [~/data:/data:ro]",
            ["a"],
            "name: x\nmounts: [~/data:/data:ro, {source: ., target: /workspace, exclude: [a]}]",
            id="the implicit mount in a flow list",
        ),
        pytest.param(
            "name: x",
            ["a"],
            "name: x\nmounts:\n  - source: .\n    target: /workspace\n    exclude:\n      - a",
            id="a file without mounts, and without a line break at the end",
        ),
        pytest.param(
            "",
            ["a"],
            "mounts:\n  - source: .\n    target: /workspace\n    exclude:\n      - a\n",
            id="an empty file",
        ),
        pytest.param(
            "# only\n",
            ["a"],
            "# only\nmounts:\n  - source: .\n    target: /workspace\n    exclude:\n      - a\n",
            id="a comment",
        ),
        pytest.param(
            "{}", ["a"], "{mounts: [{source: ., target: /workspace, exclude: [a]}]}", id="braces"
        ),
        pytest.param(
            "mounts:  # none\nname: x\n",
            ["a"],
            "mounts: [{source: ., target: /workspace, exclude: [a]}]  # none\nname: x\n",
            id="mounts without a value",
        ),
    ],
)
def test_a_layout_keeps_all_but_the_list(text: str, excludes: list[str], expected: str) -> None:
    assert set_excludes(text, W, excludes) == expected


def test_tabs_before_a_comment_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    # The pure parser takes no tab there, and refuses the file.
    monkeypatch.setattr(yaml_nodes, "_LOADER", yaml.CSafeLoader)
    before = "mounts:\n- source: .\n  target: /workspace\n  exclude:\t# what\n  - a\t# b"
    assert set_excludes(before, W, ["a", "c"]) == f"{before}\n  - c"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "mounts:\n  - ./:/workspace  # here\n  - x:/x\n",
            "mounts:\n  - source: ./  # here\n    target: /workspace\n    exclude:\n      - a\n"
            "  - x:/x\n",
        ),
        (
            "mounts:\r\n-  'my é:/workspace:ro'",
            'mounts:\r\n-  source: "my é"\r\n   target: /workspace\r\n   mode: ro\r\n'
            "   exclude:\r\n     - a",
        ),
        (
            "{mounts: [./:/workspace, x:/x]}",
            "{mounts: [{source: ./, target: /workspace, exclude: [a]}, x:/x]}",
        ),
    ],
)
def test_a_string_becomes_an_object_with_consent_and_never_without(
    text: str, expected: str
) -> None:
    assert set_excludes(text, W, ["a"], objects=True) == expected
    with pytest.raises(ConsentNeeded, match=r"written as the string .* has to become an object"):
        set_excludes(text, W, ["a"])


def test_another_mount_than_the_workspace_is_named_by_its_target() -> None:
    text = "mounts:\n  - {source: ., target: /workspace}\n  - {source: d, target: /data/}\n"
    assert set_excludes(text, "/data", ["a"]).endswith(
        "{source: d, target: /data/, exclude: [a]}\n"
    )


@pytest.mark.parametrize(
    ("text", "target", "words"),
    [
        (
            "mounts: [x:/x]",
            "/y",
            "/y: the file has no mount there; its mounts are at /workspace, /x",
        ),
        ("mounts: ['x:/x', 'y:/x/']", "/x", "/x: the file has 2 mounts there; keep one"),
        (
            "mounts:\n- source: .\n  target: /workspace\n  exclude: &c\n  - b\nd: *c\n",
            W,
            r"more than this list would change.* \(&name\).* write by hand, in the list of mounts:"
            r"\n  - source: \.\n    target: /workspace\n    exclude:\n      - a$",
        ),
        ("b: &b {source: ., target: /workspace, exclude: [b]}\nmounts: [*b]", W, "more than this"),
        (
            "mounts:\n- source: .\n  target: /workspace\n  exclude: [ b, # why\n   c]\n",
            W,
            "comments stand between items that share a line",
        ),
        (
            "mounts:\n- source: .\n  target: /workspace\n  exclude:\n  -\n    b\n",
            W,
            "an item does not stand on a line of its own after its dash",
        ),
        (
            "mounts:\n- source: .\n  target: /workspace\n  exclude: b\n",
            W,
            "what stands there is not a list of paths",
        ),
        ("b: &b {mounts: [x:/x]}\n<<: *b\n", W, "at the top of the file may bring mounts"),
        ("name: x\n...\n", W, "the result would not be read"),
    ],
)
def test_what_cannot_be_spliced_is_refused_with_what_to_write(
    text: str, target: str, words: str
) -> None:
    with pytest.raises(EditError, match=f"(?s){words}"):
        set_excludes(text, target, ["a"])


@pytest.mark.parametrize(
    ("text", "excludes", "words"),
    [
        ("", ["a b"], "exclude of /workspace: 'a b' has the unsupported character ' '"),
        ("", ["a", "a/b"], "'a/b' is redundant with 'a'"),
        ("a: [", ["a"], "moat.yaml:.*not YAML"),
        ("a: 1\na: 2\n", ["a"], "duplicate key 'a'"),
        ("- a\n", ["a"], "moat.yaml:1:1: the file is not a mapping"),
        ("a: \ud800", ["a"], "is not UTF-8"),
    ],
)
def test_a_wrong_exclude_and_a_wrong_file_are_refused_in_the_readers_words(
    text: str, excludes: list[str], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        set_excludes(text, W, excludes)


def test_a_wrong_exclude_that_is_in_the_file_can_be_taken_out() -> None:
    text = "mounts: [{source: ., target: /workspace, exclude: [../x, a]}]"
    assert excludes_of(set_excludes(text, W, ["a"])) == ["a"]


# ---------------------------------------------------------------- layouts, generated

PATHS = ["a", "b", ".env", "node_modules", "**/__pycache__", "x/y", "*.pem", "-d", "12", "null"]
path_lists = st.lists(st.sampled_from(PATHS), unique=True, max_size=6)
comments = st.sampled_from(["", "", " # c", "   # - é 😀 [x]", " #"])
own_lines = st.lists(st.sampled_from(["", "# own", "# - commented", "#"]), max_size=2)
HEADS = ["", "# head", "name: x", "env:\n  A: 'b # c'\n  B: |\n    text\n\n", "command: [ls, '-l']"]
TAILS = [
    "",
    "# tail",
    "kernel: {pids: 9}",
    "hooks:\n  pre_run: |\n    echo\n",
    "container: {}\n#\n",
]
OTHERS = ["~/d:/d:ro", "source: d\ntarget: /d\nexclude:\n  - d", "{source: d, target: /d}"]


@dataclass(frozen=True)
class Layout:
    before: str
    """Up to the list of excludes, without what may change."""
    text: str
    after: str
    excludes: list[str]
    own: list[str]
    """The comment lines between items."""
    written_out: bool = False
    """The list, or all of the mount, is written anew when it changes: by an alias, a string."""


def quoted(path: str, quote: str) -> str:
    return f"{quote or chr(34)}{path}{quote or chr(34)}" if quote or path[0] in "*-" else path


# On the list and used nowhere else: it stays, or the change is refused.
anchors = st.sampled_from(["", "", "&own "])


@st.composite
def block_lists(draw: st.DrawFn, indent: str) -> tuple[str, list[str], list[str]]:
    paths = [path for path in draw(path_lists) if path != "null"] or ["a"]
    lead = (
        indent + draw(st.sampled_from(["", "  ", "    "])) + draw(st.sampled_from(["- ", "-   "]))
    )
    text, own = f"exclude: {draw(anchors)}".rstrip() + draw(comments) + "\n", []
    for path in paths:
        for line in draw(own_lines):
            text += f"{lead.split('-')[0]}{line}\n"
            own.append(line)
        quote = draw(st.sampled_from(["", "'", '"']))
        text += lead + quoted(path, quote) + draw(comments) + "\n"
    return text, paths, own


@st.composite
def flow_lists(draw: st.DrawFn, indent: str) -> tuple[str, list[str], list[str]]:
    paths = [path for path in draw(path_lists) if path != "null"]
    separator = draw(st.sampled_from([", ", ",", " , ", f",\n{indent}  "]))
    quote = draw(st.sampled_from(["", "'", '"']))
    inner = separator.join(quoted(path, quote) for path in paths)
    if paths:
        inner += draw(st.sampled_from(["", " ", ",", " , "]))
    return (
        f"exclude: {draw(anchors)}[{draw(st.sampled_from(['', ' ']))}{inner}]"
        + draw(comments)
        + "\n",
        paths,
        [],
    )


@st.composite
def row_lists(draw: st.DrawFn, indent: str) -> tuple[str, list[str], list[str]]:
    paths = [path for path in draw(path_lists) if path != "null"] or ["a"]
    text, own = f"exclude: {draw(anchors)}[" + draw(comments) + "\n", []
    for path in paths:
        for line in draw(own_lines):
            text += f"{indent}  {line}\n"
            own.append(line)
        comma = "," if path is not paths[-1] else draw(st.sampled_from(["", ","]))
        text += f"{indent}  {quoted(path, '')}{comma}{draw(comments)}\n"
    return f"{text}{indent}]\n", paths, own


@st.composite
def no_lists(draw: st.DrawFn, indent: str) -> tuple[str, list[str], list[str]]:
    words = draw(st.sampled_from(["", "exclude:", "exclude: ~", "exclude: []", "exclude: [ ]"]))
    return words + draw(comments) + "\n" if words else "", [], []


@st.composite
def alias_lists(draw: st.DrawFn, indent: str) -> tuple[str, list[str], list[str]]:
    """Of :data:`SHARED`, which the layout has at its top."""
    return "exclude: *shared" + draw(comments) + "\n", ["a", "*.pem"], []


SHARED = "x-shared: &shared [a, '*.pem']  # for others too\n"


@st.composite
def heads(draw: st.DrawFn) -> str:
    return "".join(
        f"{h}\n" for h in draw(st.lists(st.sampled_from(HEADS), unique=True, max_size=2))
    )


@st.composite
def string_layouts(draw: st.DrawFn) -> Layout:
    """The edited mount is a string, which can have no excludes."""
    outer, quote = draw(st.sampled_from(["", "  "])), draw(st.sampled_from(["", "'", '"']))
    source = draw(st.sampled_from([".", "./", "~/my d", "é"]))
    mode = draw(st.sampled_from(["", ":ro", ":rw"]))
    before = draw(heads()) + f"mounts:\n{outer}- "
    text = f"{quote}{source}:{W}{mode}{quote}{draw(comments)}\n"
    after = draw(st.sampled_from(["", f"{outer}- ~/d:/d:ro\n"])) + draw(st.sampled_from(TAILS))
    return Layout(before, text, after, [], [], written_out=True)


@st.composite
def object_layouts(draw: st.DrawFn) -> Layout:
    outer = draw(st.sampled_from(["", "  ", "    "]))
    indent = outer + "  "
    kind = draw(st.sampled_from([block_lists, flow_lists, row_lists, no_lists, alias_lists]))
    text, paths, own = draw(kind(indent))
    keys = draw(st.permutations([f"source: .{draw(comments)}\n", f"target: {W}\n"]))
    cut = draw(st.integers(0, 2)) if text else 2
    entries = [*keys[:cut], text, *keys[cut:]] if cut else [keys[0], text, keys[1]]
    position = entries.index(text)
    lines = [("" if i == 0 else indent) + e if e else "" for i, e in enumerate(entries)]
    others = draw(st.lists(st.sampled_from(OTHERS), max_size=1))
    rows = "".join(f"{outer}- {o}\n".replace("\n", f"\n{indent}").rstrip(" ") for o in others)
    is_alias = kind is alias_lists
    before = draw(heads()) + (SHARED if is_alias else "")
    before += f"mounts:\n{rows}{outer}- " + "".join(lines[:position])
    after = "".join(lines[position + 1 :]) + draw(st.sampled_from(TAILS))
    return Layout(before, lines[position], after, paths, own, is_alias)


layouts = st.one_of(object_layouts(), string_layouts())


@given(layouts, path_lists, st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_any_list_is_set_in_any_layout_and_all_else_stays(
    layout: Layout, asked: list[str], newline: str, last: bool
) -> None:
    text = layout.before + layout.text + layout.after
    text = (text if last else text.rstrip("\n")).replace("\n", newline)
    before, after = layout.before.replace("\n", newline), layout.after.replace("\n", newline)
    assert excludes_of(text) == layout.excludes, "the generator is wrong"
    try:
        result = set_excludes(text, W, asked, objects=True)
    except EditError as error:
        # An anchor stands where the empty list would.
        assert "more than a comment stands between the key and its list" in str(error)
        assert re.match(r" *exclude: &own *(#.*)?\n", layout.text)
        assert not asked
        return
    assert excludes_of(result) == asked
    assert rest_of(result) == rest_of(text)
    assert result.startswith(before.rstrip("\r\n"))
    assert result.endswith(after if last else after.rstrip("\r\n"))
    assert all(line in result[len(before) :] for line in layout.own)
    assert newline == "\n" or "\n" not in result.replace("\r\n", "")
    assert set_excludes(result, W, asked) == result


@given(object_layouts(), path_lists)
def test_items_that_stay_keep_their_spelling(layout: Layout, asked: list[str]) -> None:
    text = layout.before + layout.text + layout.after
    assume(not layout.written_out)
    result = set_excludes(
        text, W, [*layout.excludes, *(p for p in asked if p not in layout.excludes)]
    )
    for line in layout.text.splitlines():
        words = line.split(" #")[0].strip(" []")
        assert words.rstrip(" ,~") in result


junk = st.sampled_from([*"abc-:#&*[]{},'\"|>!~ \t\n\r", "\n- ", ": ", " #", "\x85", "\u2028"])


@given(layouts, path_lists, st.integers(0, 10_000), st.integers(0, 3), st.lists(junk, max_size=4))
def test_a_damaged_file_is_changed_truly_or_refused(
    layout: Layout, asked: list[str], place: int, length: int, words: list[str]
) -> None:
    text = layout.before + layout.text + layout.after
    place %= len(text)
    text = text[:place] + "".join(words) + text[place + length :]
    try:
        result = set_excludes(text, W, asked, objects=True)
    except MoatError:
        return
    try:
        before, after = rest_of(text), rest_of(result)
    except (yaml.YAMLError, AttributeError, TypeError):
        return  # only libyaml reads it, or it is a moat.yaml of no shape
    if not any(isinstance(m, str) or "<<" in m for m in read(text).get("mounts") or []):
        assert excludes_of(result, W) == asked or f"{W}/" in text
        if all("target" in m for m in before["mounts"]):
            kept = [m for m in after["mounts"] if m in before["mounts"]]
            assert kept == before["mounts"]


def test_the_generated_lists_are_themselves_accepted() -> None:
    assert check_all(PATHS) == []
