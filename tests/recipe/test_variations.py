"""Variations: values split as YAML has them, every variant valid or every fault told."""

from __future__ import annotations

import pytest

from structkd.errors import RecipeError
from structkd.recipe import first_seeds, load_variants, parse_variation


def test_commas_inside_brackets_and_quotes_belong_to_a_value() -> None:
    found = parse_variation("objective=topk, [posterior, structural],'a,b',{x: [1, 2], y: 3}")
    assert found.key == "objective"
    assert found.values == ("topk", "[posterior, structural]", "'a,b'", "{x: [1, 2], y: 3}")


@pytest.mark.parametrize("text", ["objective", "=1,2", "knowledge.k=", "knowledge.k=1,,2", "knowledge.k=1,1"])
def test_a_variation_without_key_or_values_is_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="--vary"):
        parse_variation(text)


def test_what_all_variants_share_cannot_be_varied() -> None:
    with pytest.raises(RecipeError, match="use --seeds N"):
        parse_variation("seeds=1,2")


def test_variants_are_the_cross_product_after_the_overrides() -> None:
    varied = [parse_variation("objective=topk,posterior"), parse_variation("corpus.untagged=rest,none")]
    found = load_variants("ud/pos-small", varied, ["knowledge.k=3", "objective=structural"])
    assert [variant.name for variant in found] == [
        "objective=topk, corpus.untagged=rest",
        "objective=topk, corpus.untagged=none",
        "objective=posterior, corpus.untagged=rest",
        "objective=posterior, corpus.untagged=none",
    ]
    assert [(v.recipe.objective, v.recipe.corpus.untagged) for v in found[1:3]] == [
        (("topk",), "none"),
        (("posterior",), "rest"),
    ]
    assert {variant.recipe.knowledge.k for variant in found} == {3}


def test_faults_of_all_variants_come_in_one_message() -> None:
    varied = [parse_variation("objective=topk,posterior"), parse_variation("knowledge.local_temperature=1.0,2.0")]
    with pytest.raises(RecipeError) as caught:
        load_variants("ud/pos-small", [*varied, parse_variation("corpus.gold=0,500")])
    message = str(caught.value)
    assert "variant objective=topk, knowledge.local_temperature=2.0, corpus.gold=500" in message
    assert "variant objective=posterior, knowledge.local_temperature=1.0, corpus.gold=0" in message
    assert "objective=posterior, knowledge.local_temperature=2.0, corpus.gold=500" not in message


def test_a_key_is_varied_once() -> None:
    with pytest.raises(RecipeError, match="list all its values"):
        load_variants("ud/pos-small", [parse_variation("knowledge.k=1,2"), parse_variation("knowledge.k=3")])


def test_a_star_sets_every_item_of_a_list() -> None:
    weak, strong = load_variants("ud/pos-small", [parse_variation("teachers.*.training.epochs=1,8")])
    assert {card.training.epochs for card in weak.recipe.teachers} == {1}
    assert {card.training.epochs for card in strong.recipe.teachers} == {8}
    with pytest.raises(RecipeError, match="no list"):
        load_variants("ud/pos-small", [parse_variation("student.*.epochs=1,8")])


def test_seeds_are_the_first_of_the_recipe_and_then_the_next_numbers() -> None:
    assert first_seeds((4, 2, 7), 2) == [4, 2]
    assert first_seeds((4, 2), 4) == [4, 2, 5, 6]
