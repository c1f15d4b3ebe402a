"""`structkd predict`: tag text with a trained tagger."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from structkd.cli.options import Debug, Device, Json

Model = Annotated[Path, typer.Argument(metavar="MODEL", help="Folder of a tagger, such as runs/x/models/y/seed-1.")]
Text = Annotated[Path, typer.Argument(metavar="FILE", help="Text, a sentence a line; or a corpus in a known format.")]
Format = Annotated[str, typer.Option("--format", help="auto, text, conllu, columns or jsonl.")]
WordColumn = Annotated[str | None, typer.Option("--word-column", help="Where the words are: a name or a number.")]
Language = Annotated[str, typer.Option("--language", help="BCP-47 code of the text.")]


def command(
    model: Model,
    file: Text,
    format: Format = "auto",
    word_column: WordColumn = None,
    language: Language = "und",
    device: Device = "auto",
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Tag a file and print `word TAB tag` lines, or with --json a JSON object a sentence."""
    import torch
    from transformers.utils import logging

    from structkd.corpus import read
    from structkd.tagger import load, predict

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    column = int(word_column) if word_column is not None and word_column.lstrip("-").isdigit() else word_column
    sentences = read(file, language=language, format=format, word_column=column, tag_column="none")
    tagger = load(model)
    tagger.to(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    tagged = predict(tagger, [s.words for s in sentences], languages=[s.language for s in sentences])
    for sentence, tags in zip(sentences, tagged, strict=True):
        if as_json:
            row = {"id": sentence.id, "words": list(sentence.words), "tags": tags}
            print(json.dumps(row, ensure_ascii=False))
        else:
            print("\n".join(f"{word}\t{tag}" for word, tag in zip(sentence.words, tags, strict=True)), end="\n\n")
