from __future__ import annotations

import json
from typing import get_args

import pytest
from pydantic import ValidationError

from structkd.errors import RecipeError
from structkd.recipe import (
    ObjectiveName,
    Recipe,
    TeacherCard,
    dump_recipe,
    load_recipe,
    load_teacher,
    parse_objective,
    parse_recipe,
)


def faults(*overrides: str) -> str:
    with pytest.raises(RecipeError) as caught:
        load_recipe("mine/small", overrides)
    return str(caught.value)


@pytest.mark.usefixtures("folder")
class TestRecipe:
    def test_a_recipe_comes_with_its_cards_written_in(self):
        recipe = load_recipe("mine/small")
        assert recipe.teachers == (load_teacher("mine/en"),)
        assert recipe.teachers[0].name == "mine/en"
        assert recipe.objective == ("structural",)
        assert recipe.controls == ("baseline", "pseudo-labels")

    def test_a_dumped_recipe_loads_back_equal(self):
        recipe = load_recipe("mine/small", ["objective=[nll, topk]", "corpus.untagged={en: a.txt}", "description='no'"])
        text = dump_recipe(recipe)
        assert parse_recipe(text, "dumped") == recipe
        assert dump_recipe(parse_recipe(text, "dumped")) == text

    def test_overrides_reach_into_cards_and_replace_whole_values(self):
        recipe = load_recipe(
            "mine/small",
            [
                "student.training.epochs=9",
                "teachers.0.training.learning_rate=5e-5",
                "annealing.fraction=0.5",
                "seeds=[7]",
                "corpus.root=../data",
            ],
        )
        assert recipe.student.training.epochs == 9
        assert recipe.teachers[0].training.learning_rate == 5e-5
        assert (recipe.annealing.start, recipe.annealing.fraction) == (1.0, 0.5)
        assert recipe.seeds == (7,)
        assert recipe.corpus.root == "../data"

    def test_a_recipe_cannot_be_changed(self):
        recipe = load_recipe("mine/small")
        with pytest.raises(ValidationError, match="frozen"):
            recipe.student.head = "softmax"  # type: ignore[misc]

    @pytest.mark.parametrize("name", get_args(ObjectiveName))
    def test_every_objective_is_accepted_alone_and_in_a_list(self, name):
        assert load_recipe("mine/small", [f"objective={name}"]).objective == (name,)
        assert load_recipe("mine/small", [f"objective=[{name}]"]).objective == (name,)

    def test_objectives_are_combined_in_one_line_and_spelt_one_way(self):
        for text in ("0.5*posterior + 0.5*topk_weighted", ".50 * posterior+0.5*topk_weighted"):
            recipe = load_recipe("mine/small", [f"objective={text}"])
            assert recipe.objective == ("0.5*posterior+0.5*topk_weighted",)
        assert parse_objective(recipe.objective[0]) == ((0.5, "posterior"), (0.5, "topk_weighted"))
        several = load_recipe("mine/small", ["objective=[structural, 1*structural + 0.123456789*emission, 1*token]"])
        assert several.objective == ("structural", "1*structural+0.123456789*emission", "token")
        assert parse_recipe(dump_recipe(several), "again") == several

    def test_a_number_is_a_constant_weight_of_knowledge(self):
        annealing = load_recipe("mine/small", ["annealing=0.3"]).annealing
        assert (annealing.start, annealing.end) == (0.3, 0.3)

    def test_local_temperature_goes_with_every_objective_on_posteriors(self):
        text = "objective=[token, 0.5*emission + 0.5*posterior]"
        assert load_recipe("mine/small", [text, "knowledge.local_temperature=2"]).knowledge.local_temperature == 2

    def test_all_faults_are_named_at_once_with_path_and_line(self, folder):
        path = folder / "recipes" / "mine" / "small.yaml"
        text = path.read_text().replace("epochs: 3", "epoch: 3").replace("structural", "structual")
        path.write_text(text.replace("hidden: 4", "hidden: four").replace("seeds: [1, 2]", "seeds: 1"))
        message = faults()
        assert message.startswith("recipes/mine/small.yaml: 4 faults")
        assert 'line 9, student.encoder.hidden: got "four", expected a whole number' in message
        assert "line 10, student.training.epoch: unknown key; did you mean 'epochs'?" in message
        assert 'line 11, objective: got "structual"' in message
        assert "did you mean 'structural'?" in message
        assert "line 12, seeds: got 1, expected a list" in message

    def test_a_fault_of_a_card_names_the_file_of_the_card(self, folder):
        path = folder / "teachers" / "mine" / "en.yaml"
        path.write_text(path.read_text().replace("epochs: 2", "epochs: 0"))
        assert "teachers/mine/en.yaml, line 5, teachers.0.training.epochs: got 0, expected at least 1" in faults()

    def test_missing_keys_are_described(self, folder):
        path = folder / "recipes" / "mine" / "small.yaml"
        path.write_text(path.read_text().replace(", learning_rate: 1e-2", "").replace("objective: structural\n", ""))
        message = faults()
        assert "student.training.learning_rate: missing: peak learning rate" in message
        assert "objective: missing: one objective, or a list of them to compare" in message

    @pytest.mark.parametrize(
        ("override", "message"),
        [
            ("student.training.epochs=2.5", "got 2.5, expected a whole number"),
            ("student.training.epochs='3'", 'got "3", expected a whole number'),
            ("student.training.batch_size=true", "got true, expected a whole number"),
            ("student.encoder.type=recurent", "expected one of recurrent, pretrained; did you mean 'recurrent'?"),
            ("student.encoder={hidden: 3}", "student.encoder: key 'type' is missing"),
            ("student.encoder.dropout=1", "expected less than 1"),
            ("student.training.learning_rate=.inf", "expected a finite number"),
            ("student.training.learning_rate=0", "expected more than 0"),
            ("seeds=[]", "seeds: got [], expected at least 1"),
            ("seeds=[-1]", "seeds.0: got -1, expected at least 0"),
            ("labels={entities: [PER], schem: IOB2}", "labels.schem: unknown key; did you mean 'scheme'?"),
            ("objective=structurel", 'objective: got "structurel": expected one of nll, token, emission,'),
            ("objective=structurel", "did you mean 'structural'?"),
            ("objective=[0.5*topk + 0.5*posteror]", "'posteror' is no objective, expected one of token, emission"),
            ("objective=posterior + structural", "a sum says its weights, as in 0.5*posterior + 0.5*topk_weighted"),
            ("objective=0.5*topk + structural", "'structural' is no weight*name"),
            ("objective=0.5*topk +", "'' is no weight*name"),
            ("objective=0*topk + 1*structural", "the weight of topk is 0, expected more than 0"),
            ("objective=-1*topk", "'-1*topk' is no weight*name"),
            ("objective=0.5*topk + 0.5*topk", "topk stands twice; add up its weights"),
            ("objective=0.5*nll + 0.5*topk", "gold tags have their weight in `annealing`; nll stands alone"),
            ("annealing=2", "annealing: got 2, expected at most 1"),
            ("annealing=true", "annealing: got true, expected a mapping"),
            ("annealing.per=day", 'annealing.per: got "day", expected one of step, epoch'),
            ("student.training.reduction=words", "expected one of sentences, tokens"),
            ("corpus.untagged=everything", "expected one of rest, none"),
            ("corpus.untagged={en: 3}", "corpus.untagged.en: got 3, expected a string"),
            ("unseen.0.language=x", 'unseen.0.language: got "x", expected letters and digits as in en'),
            ("teachers=[]", "teachers: got [], expected at least 1"),
            ("teachers=mine/en", "teachers: got"),
            ("name=my recipe", "name: got"),
            ("student=3", "student: got 3, expected a mapping"),
        ],
    )
    def test_a_wrong_value_is_told_with_what_was_expected(self, override, message):
        found = faults(override)
        assert message in found
        assert "recipes/mine/small.yaml: 1 fault\n" in found

    @pytest.mark.parametrize(
        ("overrides", "message"),
        [
            (["unseen.0.language=en"], "unseen.0.language: en is seen: teacher mine/en is trained on it"),
            (["unseen.0.corpus.test=null"], "unseen.0.corpus.test: missing"),
            (["teachers=[mine/en, mine/en]"], "two teachers are called mine/en"),
            (["teachers.0.task=ner"], "teacher mine/en does ner, expected the recipe's task pos"),
            (["teachers.0.corpus.format=text"], "text has no tags"),
            (["teachers.0.corpus.format=hub"], "teachers.0.corpus.hub: missing"),
            (["teachers.0.corpus.hub=a/b"], "only with format: hub, got format: conllu"),
            (["teachers.0.corpus.tag_column=3"], "a column number goes with format: columns"),
            (["teachers.0.corpus.train=null"], "teachers.0.corpus.train: missing"),
            (["student.training.max_steps=5"], "student.training: got both of epochs and max_steps"),
            (["student.training.epochs=null"], "student.training: got neither of epochs and max_steps"),
            (["student.encoder.word_dim=5"], "expected both or neither"),
            (["labels={entities: [PER]}"], "labels: do not fit task pos, expected upos"),
            (["task=ner"], "labels: do not fit task ner, expected {entities"),
            (["labels={tags: [A, B, A]}"], "labels.tags: repeated: A"),
            (["seeds=[1, 1]"], "seeds: repeated: 1"),
            (["objective=[nll, nll]"], "objective: repeated: nll"),
            (["knowledge.local_temperature=2"], "objectives token, emission, posterior only, got structural; use"),
            (
                ["objective=0.5*posterior + 0.5*structural", "knowledge.local_temperature=2"],
                "only, got 0.5*posterior+0.5*structural; use temperature",
            ),
            (["objective=0.5*topk + 0.5*structural", "knowledge.k=0"], "knowledge.k: got 0, expected at least 1"),
            (["objective=topk", "knowledge.k=0"], "knowledge.k: got 0, expected at least 1 for objective topk"),
            (
                ["objective=posterior", "knowledge.local_temperature=2", "knowledge.temperature=2"],
                "expected one of them to be 1",
            ),
            (["corpus.untagged={de: a.txt}"], "corpus.untagged.de: no teacher for de, expected one of en"),
            (["student.training.epochs=null", "student.training.max_steps=5"], "baseline.epochs: missing"),
        ],
    )
    def test_sections_must_fit_together(self, overrides, message):
        assert message in faults(*overrides)

    def test_local_temperature_is_for_posteriors(self):
        recipe = load_recipe("mine/small", ["objective=posterior", "knowledge.local_temperature=2.25"])
        assert recipe.knowledge.local_temperature == 2.25

    def test_several_teachers_may_share_a_language(self, folder):
        card = (folder / "teachers" / "mine" / "en.yaml").read_text()
        (folder / "teachers" / "mine" / "en-2.yaml").write_text(card)
        assert len(load_recipe("mine/small", ["teachers=[mine/en, mine/en-2]"]).teachers) == 2

    def test_norwegian_is_a_language(self):
        assert load_recipe("mine/small", ["unseen.0.language=no"]).unseen[0].language == "no"


def test_an_empty_recipe_is_a_fault_and_not_a_crash():
    for text in ("", "3", "[1]"):
        with pytest.raises(RecipeError, match="expected a mapping"):
            parse_recipe(text, "empty.yaml")


@pytest.mark.parametrize("model", [Recipe, TeacherCard])
def test_the_schema_describes_every_key(model):
    schema = json.loads(json.dumps(model.model_json_schema()))
    for section in [schema, *schema["$defs"].values()]:
        for key, value in section.get("properties", {}).items():
            assert value.get("description"), key
        assert section.get("additionalProperties", False) is False


def test_the_schema_lets_a_file_name_its_cards_and_one_objective():
    properties = Recipe.model_json_schema()["properties"]
    assert {"type": "string"} in properties["teachers"]["items"]["anyOf"]
    assert [choice.get("type") for choice in properties["objective"]["anyOf"]] == ["string", "string", "array"]
