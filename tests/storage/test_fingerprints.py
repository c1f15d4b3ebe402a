from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from structkd.storage import file_sha256, fingerprint

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@dataclasses.dataclass(frozen=True)
class Point:
    x: int
    y: tuple[int, ...]


@given(st.dictionaries(st.text(max_size=3), JSON, min_size=2, max_size=4))
def test_order_of_dictionary_keys_does_not_matter(value):
    assert fingerprint(value) == fingerprint(dict(reversed(list(value.items()))))


@given(JSON, JSON)
def test_different_values_get_different_fingerprints(left, right):
    if json.dumps(left, sort_keys=True) != json.dumps(right, sort_keys=True):
        assert fingerprint(left) != fingerprint(right)


def test_order_and_grouping_of_parts_matter():
    assert len({fingerprint(1, 2), fingerprint(2, 1), fingerprint([1, 2]), fingerprint(1), fingerprint("1")}) == 5


def test_tuples_count_as_lists_and_dataclasses_as_dictionaries():
    assert fingerprint((1, (2,))) == fingerprint([1, [2]])
    assert fingerprint(Point(1, (2, 3))) == fingerprint({"x": 1, "y": [2, 3]})
    assert fingerprint({3, 1, 2}) == fingerprint({2, 3, 1})


def test_a_path_stands_for_its_content_and_not_for_its_name(tmp_path):
    first, second, third = (tmp_path / name for name in "abc")
    first.write_bytes(b"one")
    second.write_bytes(b"one")
    third.write_bytes(b"two")
    assert fingerprint(first) == fingerprint(second) != fingerprint(third)
    assert fingerprint(first) != fingerprint(str(first))


def test_a_fingerprint_is_sixteen_hex_digits_and_stable_between_versions():
    assert fingerprint("de", {"k": 5, "temperature": 1.0}, [1e-5, None, True]) == "6d75567fa81ce73e"


def test_file_sha256_is_that_of_the_bytes(tmp_path):
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    assert file_sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize("value", [object(), {1: "a"}, b"bytes", Point])
def test_types_without_a_canonical_form_are_refused(value):
    with pytest.raises(TypeError, match="fingerprint"):
        fingerprint(value)
