from __future__ import annotations

import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from structkd.errors import RecipeError
from structkd.recipe.loading import Document, read_yaml, read_yaml_value, set_value, write_yaml

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn"], exclude_characters="\ufeff"))
    | st.sampled_from(
        ["no", "yes", "on", "1e-5", "0o17", "0x1F", "1_000", "2020-01-01", "null", "~", "True", "<<", "="]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc.", min_size=1), inner, max_size=3),
    max_leaves=10,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("True", "True"),
        ("true", True),
        ("false", False),
        ("1e-5", 1e-5),
        ("1.0e-5", 1e-5),
        ("-3E2", -300.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("007", 7),
        ("0o17", 15),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2020-01-01", "2020-01-01"),
        ("-.inf", -math.inf),
        ("", None),
        ("~", None),
        ("null", None),
        ("'1'", "1"),
        ('"true"', "true"),
        ("[de, no]", ["de", "no"]),
        ("{a: 1}", {"a": 1}),
        ("=", "="),
    ],
)
def test_plain_words_are_read_as_in_yaml_1_2(text, value):
    assert read_yaml_value(text) == value
    assert type(read_yaml_value(text)) is type(value)


@given(VALUES)
def test_written_yaml_reads_back_equal(value):
    assert read_yaml(write_yaml(value), "written").data == value


@given(st.dictionaries(st.text("abc", min_size=1), VALUES.filter(lambda value: not isinstance(value, float))))
def test_written_yaml_means_the_same_to_readers_of_yaml_1_1(value):
    assert yaml.safe_load(write_yaml(value)) == value


def test_every_duplicate_key_is_refused_with_both_lines():
    with pytest.raises(RecipeError) as caught:
        read_yaml("a: 1\nb:\n  c: 1\n  c: 2\na: 3\n", "f.yaml")
    assert "f.yaml: 2 faults" in str(caught.value)
    assert "line 4, b.c: duplicate key, already on line 3" in str(caught.value)
    assert "line 5, a: duplicate key, already on line 1" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1\nb: 2", "line 2: not valid YAML"),
        ("a: 1\n\tb: 2", "line 2: not valid YAML"),
        ("a: 1\n---\nb: 2", "line 2: not valid YAML"),
        ("a: &x 1\nb: *x", "line 2: not valid YAML: aliases"),
        ("a: !!python/object/apply:os.system [ls]\n", "line 1, a: tags are not supported"),
        ("a: 1\nb: !env HOME", "line 2, b: tags are not supported"),
        ("a: 1\n? [b]\n: 2", "line 2: expected a word as key"),
        ("a: \x00", "not valid YAML"),
    ],
)
def test_what_is_not_plain_data_is_refused_with_its_line(text, message):
    with pytest.raises(RecipeError, match=message):
        read_yaml(text, "f.yaml")


def test_every_value_has_its_line():
    document = read_yaml("a: 1\nb:\n  c:\n    - 1\n    - d: 2\n", "f.yaml")
    lines = {path: position.line for path, position in document.positions.items()}
    assert lines[("a",)] == 1
    assert lines[("b", "c")] == 3
    assert lines[("b", "c", 1, "d")] == 5
    assert document.position(("b", "c", 1, "missing")).line == 5


def test_an_empty_file_is_null():
    assert read_yaml("# nothing\n", "f.yaml").data is None


def document(text: str) -> Document:
    return read_yaml(text, "f.yaml")


def test_set_replaces_values_makes_mappings_and_numbers_list_items():
    file = document("a: {b: 1}\nc: [1, {d: 2}]\ne: null\n")
    for assignment in ("a.b=x=y", "c.1.d=[1e-3, no]", "e.f.g=true", "h=", "c.0=null"):
        set_value(file, assignment)
    assert file.data == {"a": {"b": "x=y"}, "c": [None, {"d": [1e-3, "no"]}], "e": {"f": {"g": True}}, "h": None}
    assert file.position(("a", "b")).source == "--set"


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("a.b", "expected a path and a value"),
        ("=1", "expected a path and a value"),
        ("a..b=1", "expected a path and a value"),
        ("a.b.c=1", "a.b is 1, not a mapping"),
        ("c.2=1", "c is a list of 2, expected a number from 0 to 1"),
        ("c.last.d=1", "c is a list of 2, expected a number"),
        ("a=[", "--set: 1 fault"),
    ],
)
def test_set_says_what_does_not_fit(assignment, message):
    with pytest.raises(RecipeError, match=message.replace("[", r"\[")):
        set_value(document("a: {b: 1}\nc: [1, {d: 2}]\n"), assignment)
