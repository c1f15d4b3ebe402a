"""The base of all sections of a recipe, and the types that several of them share."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

Task = Literal["pos", "ner"]
Scheme = Literal["IOB2", "BIOES", "IOB1", "BILOU"]
Language = Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$")]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*$")]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(ge=1)]
Size = Annotated[int, Field(ge=0)]
Dropout = Annotated[float, Field(ge=0.0, lt=1.0)]


class Spec(BaseModel):
    """A section: closed (unknown keys are faults) and frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
