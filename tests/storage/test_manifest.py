from __future__ import annotations

import json

import pytest

from structkd.errors import IntegrityError
from structkd.storage import is_sealed, lock, seal, verify, write_json


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "model" / "deep").mkdir(parents=True)
    (tmp_path / "model" / "weights").write_text("weights")
    (tmp_path / "model" / "deep" / "config.json").write_text("{}")
    seal(tmp_path / "model", fingerprint="abc", languages=("en", "fr"))
    return tmp_path / "model"


def test_a_sealed_folder_verifies_and_gives_its_facts(folder):
    assert verify(folder) == {"fingerprint": "abc", "languages": ["en", "fr"]}
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["format"] == 1
    assert sorted(manifest["files"]) == ["deep/config.json", "weights"]
    assert manifest["files"]["weights"]["bytes"] == 7


def test_every_missing_and_changed_file_is_named(folder):
    (folder / "weights").write_text("WEIGHTS")
    (folder / "deep" / "config.json").unlink()
    with pytest.raises(IntegrityError) as caught:
        verify(folder)
    assert "weights: sha256 differs" in str(caught.value)
    assert "deep/config.json: missing" in str(caught.value)
    assert str(folder) in str(caught.value)


def test_a_truncated_file_is_named_with_its_sizes(folder):
    (folder / "weights").write_text("wei")
    with pytest.raises(IntegrityError, match="weights: 3 bytes, expected 7"):
        verify(folder)
    assert not is_sealed(folder)


def test_facts_decide_whether_a_folder_is_up_to_date(folder):
    assert is_sealed(folder)
    assert is_sealed(folder, fingerprint="abc")
    assert is_sealed(folder, languages=("en", "fr"))
    assert not is_sealed(folder, fingerprint="other")
    assert not is_sealed(folder, unknown=None)


def test_sealing_again_keeps_the_manifest_out_of_itself_and_a_lock_file_too(folder):
    with lock(folder):
        seal(folder, fingerprint="new")
    assert sorted(json.loads((folder / "manifest.json").read_text())["files"]) == ["deep/config.json", "weights"]
    assert verify(folder) == {"fingerprint": "new"}


def test_without_a_manifest_a_folder_is_not_sealed_and_does_not_verify(tmp_path):
    assert not is_sealed(tmp_path)
    with pytest.raises(IntegrityError, match=r"manifest\.json"):
        verify(tmp_path)


@pytest.mark.parametrize(
    "value", [[], {"format": 2}, {"format": 1, "facts": {}}, {"format": 1, "facts": {}, "files": {"a": 1}}]
)
def test_a_damaged_manifest_is_refused_and_not_a_crash(folder, value):
    write_json(folder / "manifest.json", value)
    assert not is_sealed(folder)
    with pytest.raises(IntegrityError, match=r"manifest\.json"):
        verify(folder)
