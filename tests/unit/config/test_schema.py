"""parse/schema.py: the JSON Schema of moat.yaml, held against the parser both ways."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator

import tests
from moat_nb.cli.main import main
from moat_nb.config import schema
from moat_nb.config.reader import UNUSED, read_config
from moat_nb.config.registry import SERVICES
from moat_nb.errors import ConfigError
from tests.unit.config import (
    test_dependencies,
    test_kernel,
    test_kubernetes,
    test_mounts,
    test_network,
    test_other_machine,
    test_reader,
    test_services,
    test_values,
)

TESTS = Path(tests.__file__).parent
ROOT = TESTS.parent
KEPT = ROOT / "docs" / "moat.schema.json"
SCHEMA = json.loads(schema.schema_as_text())
VALIDATOR = Draft7Validator(SCHEMA)

BEYOND = {
    "more than one place of the file": (
        "bubblewrap runs what kernel.on starts",
        "kernel.kubernetes is for runtime: kubernetes",
        "is given, but",
        "is given twice",
        "is in env and in secrets",
        "are one name to a browser",
        "is not one of the dependencies",
        "a second mount at",
        "volumes are kept by project name",
        "leaves .git out",
        "is a duplicate of",
        "is redundant with",
        r"soft \S+ is above hard",
        "give port, command or log",
        "no word holds {connection_file}",
        "the first item, the program, is empty",
    ),
    "a grammar of its own": (
        "is not a requirement of pip",
        "is not an IP address",
        r"exclude\[\d+\]: .*(must not|an exclude|unsupported|target itself|a component of)",
        "unknown dependency",
        "a Python version is X.Y",
        "a version is numbers",
        "no version after the @",
        "a version has letters",
        "have no version in common",
        r"services\.\S+: what follows \S+ is not a reference",
        "the target .* is refused",
        "is not a host name",
    ),
    "what the words are close to": (r"^moat.yaml:\d+:\d+: unknown key '.*'; did you mean",),
    "how YAML is written": (
        "duplicate key",
        "a NUL character in a string",
        "found invalid Unicode character escape code",
        # An editor sees a number, which no pattern is for.
        r"'[-+.0-9e]+' is not (the name of|a volume's|UID|a model's|a dependency)",
        "'(y|Y|yes|on|n|N|no|off)' is neither true nor false",
        r"'(0x400|1e3|\.nan)' is not",
    ),
}
"""What the parser refuses and no schema can, by the reason why."""


class Editor(yaml.SafeLoader):
    """YAML as editors read it: 1.2, whose numbers and booleans are JSON's."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own


for tag, pattern, first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
    ("float", r"[-+]?\.(inf|nan)", list("-+.")),
    ("merge", "<<", ["<"]),
):
    Editor.add_implicit_resolver(f"tag:yaml.org,2002:{tag}", re.compile(f"^(?:{pattern})$"), first)


def _integer(loader: Any, node: Any) -> float:
    # As a float where Python would take thousands of digits for an attack.
    text = loader.construct_scalar(node)
    return int(text, 16) if "x" in text else int(text) if len(text) < 400 else float(text)


Editor.add_constructor("tag:yaml.org,2002:int", _integer)


def as_json(text: str) -> Any:
    return json.loads(json.dumps(yaml.load(text, Loader=Editor)))


def problems(text: str) -> list[str]:
    """What the parser says is wrong."""
    try:
        read_config(text.encode(), path=Path("/srv/demo/moat.yaml"), home=Path("/home/ada"))
    except ConfigError as error:
        return [str(problem) for problem in error.problems]
    return []


def is_beyond(problem: str) -> bool:
    return any(re.search(words, problem) for reason in BEYOND.values() for words in reason)


def agree(text: str) -> bool:
    """Asserts that both say the same of a file, as far as a schema can; returns the parser's."""
    found = problems(text)
    passes = VALIDATOR.is_valid(as_json(text))
    if not found:
        assert passes, (text, [error.message for error in VALIDATOR.iter_errors(as_json(text))])
    elif not all(is_beyond(problem) for problem in found):
        assert not passes, (text, found)
    return not found


# ---------------------------------------------------------------- examples


def parts(test: Any) -> list[str]:
    """What a parametrized test takes for its first argument."""
    (mark,) = test.pytestmark
    return [case[0] for case in mark.args[1]]


WRONG = [
    *parts(test_reader.test_a_wrong_value_is_refused_with_place_value_rule_and_mend),
    *parts(test_values.test_a_wrong_variable_or_secret_is_refused),
    *(
        f"mounts: [{part}]" if part[0] in "[{'\"" else f'mounts: ["{part}"]'
        for part in parts(test_mounts.test_a_wrong_mount_is_refused_with_the_rule)
    ),
    *(
        template % part
        for template, test in (
            ("container: {%s}", test_values.test_a_wrong_limit_is_refused),
            ("kernel: {on: %s}", test_other_machine.test_what_names_none_is_refused),
            ("kernel: {kubernetes: %s}", test_kubernetes.test_what_is_none_is_refused),
            ("network: {%s}", test_network.test_a_wrong_network_is_refused),
            (
                "name: x\nvolumes: [%s]",
                test_mounts.test_a_wrong_volume_is_refused_with_the_rule,
            ),
            (
                "dependencies: [postgres]\nservices: {%s}",
                test_services.test_a_wrong_service_is_refused,
            ),
            (
                "dependencies: [ollama]\nservices: {ollama: {models: %s}}",
                test_services.test_a_wrong_list_of_models_is_refused,
            ),
            (
                "dependencies: [git]\nkernel: {%s}",
                test_kernel.test_a_wrong_kernel_key_is_refused,
            ),
        )
        for part in parts(test)
    ),
    *(
        f"dependencies: [{json.dumps(part)}]"
        for part in parts(test_dependencies.test_a_slip_is_refused_with_what_was_probably_meant)
    ),
    "mounts: [{source: a, target: /a, exclude: [/a]}]",
    "base_image: -1",
    "mounts: [{source: ., target: /workspace, exclude: [.git]}]\nworkspace: {mode: volume}",
    "name: x\nvolumes: [{name: a, target: /a, readonly: 'yes'}]",
    f"network: {{rules: [{'.'.join(['a' * 60] * 5)}]}}",
    "kernel: {services: {a: {image: a, ready: {timeout: 1}}}}",
]


def literals() -> Iterator[str]:
    """Every string in the tests that is a YAML mapping, whatever the parser thinks of it."""
    for file in TESTS.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def in_docs() -> Iterator[str]:
    for file in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        yield from re.findall(r"^```yaml\n(.*?)^```", file.read_text(), re.DOTALL | re.MULTILINE)
    for file in (ROOT / "notebooks").rglob("moat.yaml"):
        yield file.read_text()


def is_mapping(text: str) -> bool:
    try:
        return isinstance(as_json(text), dict)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError):
        return False


def test_the_schema_lets_pass_every_example_that_the_parser_accepts() -> None:
    examples = [text for text in dict.fromkeys([*literals(), *in_docs()]) if is_mapping(text)]
    assert sum(agree(text) for text in examples) > 100


@pytest.mark.parametrize("text", WRONG)
def test_the_schema_refuses_what_the_parser_refuses_unless_no_schema_could(text: str) -> None:
    assert not agree(text)


def test_nothing_is_said_to_be_beyond_a_schema_that_is_not() -> None:
    let_pass = [
        problem
        for text in [*WRONG, *filter(is_mapping, literals())]
        if VALIDATOR.is_valid(as_json(text))
        for problem in problems(text)
    ]
    listed = {words for reason in BEYOND.values() for words in reason}
    assert {words for words in listed if not any(re.search(words, p) for p in let_pass)} == set()


# ---------------------------------------------------------------- every key and bound


@dataclass(frozen=True, kw_only=True)
class Place:
    """Somewhere in a file: what the schema says there, and a file with a value there."""

    path: str
    schema: dict[str, Any]
    file: Callable[[Any], dict[str, Any]]


AROUND = {
    "source": ".",
    "target": "/a",
    "name": "a",
    "image": "a",
    "soft": 1,
    "hard": -1,
    "ssh": "gpu",
    "slurm": {},
}
"""A value for each key that is required."""


def places(place: Place) -> Iterator[Place]:
    yield place
    schema, file = place.schema, place.file
    for branch in schema.get("anyOf", ()):
        yield from places(Place(path=place.path, schema=branch, file=file))
    if "items" in schema:
        inner = Place(
            path=f"{place.path}[0]", schema=schema["items"], file=lambda value: file([value])
        )
        yield from places(inner)
    needed = {name: AROUND[name] for name in schema.get("required", ())}
    named = dict(schema.get("properties", {}))
    if isinstance(schema.get("additionalProperties"), dict):
        named["a"] = schema["additionalProperties"]
    for name, below in named.items():
        # A time limit is of a check, and needs one beside it.
        beside = {"port": 1} if name == "timeout" else {}
        inner = Place(
            path=f"{place.path}.{name}",
            schema=below,
            file=lambda value, name=name, beside=beside: file({**needed, **beside, name: value}),
        )
        yield from places(inner)


def whole(value: Any) -> dict[str, Any]:
    return {"name": "a", "dependencies": [*SERVICES], **value}


PLACES = list(places(Place(path="", schema=SCHEMA, file=whole)))


def both(file: dict[str, Any]) -> bool:
    """Whether the parser accepts a file; asserts that the schema's answer is the same."""
    accepted = not problems(json.dumps(file))
    assert VALIDATOR.is_valid(file) == accepted, (file, problems(json.dumps(file)))
    return accepted


def types(place: Place) -> list[str]:
    said = place.schema.get("type", [])
    return said if isinstance(said, list) else [said]


def test_each_key_of_the_schema_is_read_by_the_parser_and_for_what_the_schema_says() -> None:
    free = set()
    for place in PLACES[1:]:
        if not types(place) and not place.schema.keys() & {"enum", "anyOf"}:
            free.add(place.path)
        else:
            assert not both(place.file([[]] if "object" in types(place) else {"?": [{}]}))
    assert free == {f".{name}" for name in UNUSED} | {".network.keep_policy"}


def test_each_number_has_the_same_bounds() -> None:
    for place in PLACES:
        said = place.schema
        if "minimum" in said:
            assert both(place.file(said["minimum"])) and both(place.file(said["maximum"]))
            assert not both(place.file(said["minimum"] - 1))
            assert not both(place.file(said["maximum"] + 1))
        elif "exclusiveMinimum" in said:
            assert both(place.file(0.001)) and both(place.file(said["maximum"]))
            assert not both(place.file(0)) and not both(place.file(said["maximum"] + 1))


def test_each_choice_has_the_same_words() -> None:
    for place in PLACES:
        for word in place.schema.get("enum", ()):
            assert both(place.file(word))
            assert word is None or not both(place.file(f"{word}x"))


def test_each_boolean_is_true_false_or_a_word_of_yaml_1_1() -> None:
    for place in PLACES:
        if types(place)[:2] == ["boolean", "string"]:
            assert both(place.file(True)) and both(place.file(False))
            assert not both(place.file("maybe")) and not both(place.file("true"))


def test_null_is_a_key_that_is_not_given_in_both_or_neither() -> None:
    for place in PLACES:
        agree(json.dumps(place.file(None) if place.path else None))


def test_each_section_knows_the_same_keys() -> None:
    closed = [p for p in PLACES if p.schema.get("additionalProperties") is False]
    assert len(closed) > 20
    for place in closed:
        known = set(place.schema["properties"])
        needed = {name: AROUND[name] for name in place.schema.get("required", ())}
        file = place.file({**needed, "zzzzzz": 1})
        assert not VALIDATOR.is_valid(file)
        said = [p for p in problems(json.dumps(file)) if "'zzzzzz'" in p]
        (names,) = (re.search(r"known(?: here)?: (.*)$", problem) for problem in said)
        assert names is not None
        # Moat's older name for rules: refused with the newer one.
        assert set(names[1].split(", ")) - {"allow"} == known, place.path


KNOWN = (*SCHEMA["properties"],)


@pytest.mark.parametrize("name", KNOWN)
def test_a_slip_in_a_key_of_the_top_level_is_refused_by_both(name: str) -> None:
    slips = {name[:at] + letter + name[at:] for at in range(len(name) + 1) for letter in "xe_"}
    if len(name) > 3:
        slips |= {name[:at] + name[at + 1 :] for at in range(len(name))}
        slips |= {f"{name[:at]}x{name[at + 1 :]}" for at in range(len(name))}
    for slip in slips - {*KNOWN}:
        assert not both({slip: 1})


@pytest.mark.parametrize("name", ["x-mine", "something", "editor", "jobs"])
def test_a_key_of_another_tools_passes_both(name: str) -> None:
    assert both({name: 1})


def test_a_slip_in_a_key_is_refused_by_both() -> None:
    for place in PLACES:
        if place.schema.get("additionalProperties") is False:
            for name in place.schema["properties"]:
                assert not both(place.file({f"{name}x": 1}))


def test_each_default_could_be_given_and_each_description_is_short() -> None:
    for place in PLACES:
        if "default" in place.schema:
            agree(json.dumps(place.file(place.schema["default"])))
        assert len(place.schema.get("description", "")) <= 140


# ---------------------------------------------------------------- the whole


def values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """What a schema of ours lets pass; of hypothesis-jsonschema no version runs any more."""
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if "anyOf" in schema:
        return st.one_of([values(branch) for branch in schema["anyOf"]])
    said = schema.get("type", ["null", "boolean", "string"])
    said = said if isinstance(said, list) else [said]
    return st.one_of([OF_TYPE[name](schema) for name in said])


def strings(schema: dict[str, Any]) -> st.SearchStrategy[str]:
    if "pattern" not in schema:
        return st.text(min_size=schema.get("minLength", 0), max_size=9)
    # \Z: unlike ECMAScript's, Python's $ stands before a newline at the end too.
    return st.from_regex(schema["pattern"][:-1] + r"\Z")


def mappings(schema: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    named = {name: values(below) for name, below in schema.get("properties", {}).items()}
    needed = {name: named.pop(name) for name in schema.get("required", ())}
    fixed = st.fixed_dictionaries(needed, optional=named)
    others = schema.get("additionalProperties")
    if not isinstance(others, dict):
        return fixed
    # A name that the schema knows keeps the value that is meant for it.
    free = st.dictionaries(strings(schema["propertyNames"]), values(others), max_size=2)
    return st.tuples(free, fixed).map(lambda both: {**both[0], **both[1]})


OF_TYPE: dict[str, Callable[[dict[str, Any]], st.SearchStrategy[Any]]] = {
    "null": lambda _: st.none(),
    "boolean": lambda _: st.booleans(),
    "string": strings,
    "integer": lambda said: st.integers(said.get("minimum", 0), said.get("maximum", 99)),
    "number": lambda said: st.integers(1, int(said.get("maximum", 99))) | st.just(0.5),
    "array": lambda said: st.lists(values(said["items"]), max_size=2),
    "object": mappings,
}


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(values(SCHEMA))
def test_what_the_schema_lets_pass_the_parser_refuses_for_listed_reasons_only(file: Any) -> None:
    assert VALIDATOR.is_valid(file)
    found = problems(yaml.safe_dump(file))
    assert [problem for problem in found if not is_beyond(problem)] == []


@given(st.dictionaries(st.sampled_from(test_reader.KEYS), test_reader.VALUES, max_size=6))
def test_of_any_well_formed_file_both_say_the_same(content: dict[str, Any]) -> None:
    agree(yaml.safe_dump(content))


def test_the_schema_is_a_schema() -> None:
    Draft7Validator.check_schema(SCHEMA)


def test_the_command_prints_what_the_docs_have(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert capsys.readouterr().out == KEPT.read_text(), f"run: moat-nb schema > {KEPT}"
