"""The text of a first moat.yaml: what is written is read back as it was meant."""

from __future__ import annotations

import yaml
from hypothesis import given
from hypothesis import strategies as st

from moat_nb.cli.init.text import Draft, Item

ITEMS = st.lists(
    st.builds(
        Item,
        value=st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), min_size=1),
    ),
    unique=True,
)


def test_a_project_in_which_nothing_is_found_has_its_name_and_its_mount() -> None:
    words = yaml.safe_load(Draft(name="box").text)
    assert words == {
        "name": "box",
        "mounts": [{"source": ".", "target": "/workspace", "exclude": []}],
    }


def test_what_is_refused_stands_in_a_comment_with_the_reason() -> None:
    kept, gone = Item(value="pip:a"), Item(value="pip:b")
    draft = Draft(name="x", dependencies=(kept, gone), of="it", refused={gone: "not here"})
    assert yaml.safe_load(draft.text)["dependencies"] == ["pip:a"]
    assert "  # - pip:b                 # not here\n" in draft.text
    none = Draft(name="x", dependencies=(gone,), refused={gone: "not here"})
    assert yaml.safe_load(none.text)["dependencies"] == []


def test_a_runtime_that_was_asked_for_is_in_the_file() -> None:
    assert yaml.safe_load(Draft(name="x", runtime="podman").text)["kernel"] == {"runtime": "podman"}


@given(excludes=ITEMS, dependencies=ITEMS, more=st.booleans())
def test_each_item_is_read_back_and_known_by_its_line(
    excludes: list[Item], dependencies: list[Item], more: bool
) -> None:
    draft = Draft(
        name="x",
        excludes=tuple(excludes),
        dependencies=tuple(dependencies),
        more=("dist",) if more else (),
        of="requirements.txt",
    )
    words = yaml.safe_load(draft.text)
    assert words["mounts"][0]["exclude"] == [item.value for item in excludes]
    assert words.get("dependencies", []) == [item.value for item in dependencies]
    lines = range(1, draft.text.count("\n") + 2)
    assert [item for n in lines if (item := draft.at(n))] == [*excludes, *dependencies]
