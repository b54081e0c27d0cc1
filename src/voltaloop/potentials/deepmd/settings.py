"""The options of the potential ``deepmd``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Layers = Annotated[tuple[int, ...], Field(min_length=1)]


class DeepmdSettings(BaseModel):
    """Options of the potential ``deepmd``.

    The defaults suit small sets: one member learns from about 100 frames of 16 atoms in one to two
    minutes on one core. Large sets are worth ten to a hundred times the steps.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    members: int = Field(
        default=4,
        ge=2,
        le=64,
        description="members of the committee; they differ by what they leave out and by seed",
    )
    dp: str | None = Field(
        default=None,
        description="the program dp of DeePMD-kit 3, or the folder of an environment that has it "
        "(with bin/dp); default: the one in PATH, else .deepmd in the working directory, which "
        "make deepmd makes",
    )
    input: dict[str, Any] | str = Field(
        default_factory=dict,
        description="own keys of DeePMD-kit's input.json, or the path of such a file (JSON or "
        "YAML); they win over the options here. A section of another type (descriptor, "
        "learning_rate ...) replaces the default one. Set for every member: systems, type_map and "
        "the seeds",
    )
    steps: int = Field(
        default=4000, ge=1, description="training steps of a member that starts from nothing"
    )
    retrain_steps: int = Field(
        default=800, ge=1, description="training steps of a member that goes on from its last model"
    )
    batch_size: int | str = Field(
        default="auto:16",
        description="frames of one composition in a training step, or auto:N for at least N atoms",
    )
    rcut: float = Field(default=4.5, gt=0, description="cutoff radius of the descriptor in Å")
    rcut_smth: float = Field(
        default=1.0, gt=0, description="where neighbours begin to fade towards the cutoff, in Å"
    )
    sel: dict[str, int] | None = Field(
        default=None,
        description="most neighbours of each species within the cutoff, such as {Li: 24, Ni: 24, "
        "O: 40}; the nearest are kept where there are more. Default: the most in the data, times "
        "sel_margin",
    )
    sel_margin: float = Field(
        default=1.25,
        ge=1,
        description="factor on the neighbours found in the data, for denser frames to come",
    )
    embedding: Layers = Field(
        default=(8, 16, 32), description="neurons in the layers of the embedding nets"
    )
    axis_neurons: int = Field(
        default=6, ge=1, description="columns of the embedding that the descriptor is made with"
    )
    fitting: Layers = Field(
        default=(40, 40, 40), description="neurons in the layers of the fitting nets"
    )
    lr_start: float = Field(default=1e-2, gt=0, description="learning rate at the first step")
    lr_stop: float = Field(default=1e-5, gt=0, description="learning rate at the last step")
    retrain_lr_start: float = Field(
        default=1e-3,
        gt=0,
        description="learning rate at the first step of a member that goes on from its last model",
    )
    decay_steps: int | None = Field(
        default=None,
        ge=1,
        description="steps between two reductions of the learning rate; default: a hundredth of "
        "all steps",
    )
    pref_e: tuple[float, float] = Field(
        default=(0.5, 10.0),
        description="weight of energy in the loss at the first and at the limit of the learning "
        "rate 0 (start_pref_e, limit_pref_e; energies in eV)",
    )
    pref_f: tuple[float, float] = Field(
        default=(1000.0, 10.0),
        description="the same for forces in eV/Å (start_pref_f, limit_pref_f)",
    )
    pref_v: tuple[float, float] = Field(
        default=(0.1, 2.0),
        description="the same for the virial in eV (start_pref_v, limit_pref_v)",
    )
    seed: int = Field(default=1, ge=0, description="seed of the first member; others count on")

    @field_validator("batch_size")
    @classmethod
    def _is_a_batch_size(cls, value: int | str) -> int | str:
        if isinstance(value, int) and value >= 1:
            return value
        word, _, atoms = str(value).partition(":")
        if word == "auto" and (atoms.isdigit() or str(value) == "auto"):
            return value
        raise ValueError(f"expected a number of frames, auto or auto:N, got {value!r}")

    @field_validator("pref_e", "pref_f", "pref_v")
    @classmethod
    def _are_prefactors(cls, value: tuple[float, float]) -> tuple[float, float]:
        if min(value) < 0:
            raise ValueError(f"expected two numbers of at least 0, [start, limit], got {value}")
        return value

    @field_validator("input")
    @classmethod
    def _can_be_read(cls, value: dict[str, Any] | str) -> dict[str, Any] | str:
        _mapping(value)
        return value

    @model_validator(mode="after")
    def _fades_inside(self) -> DeepmdSettings:
        if self.rcut_smth >= self.rcut:
            raise ValueError(
                f"rcut_smth ({self.rcut_smth:g} Å) must be smaller than rcut ({self.rcut:g} Å)"
            )
        if self.lr_stop > min(self.lr_start, self.retrain_lr_start):
            raise ValueError(
                f"lr_stop ({self.lr_stop:g}) must not be larger than lr_start and retrain_lr_start"
            )
        return self

    @property
    def own_input(self) -> dict[str, Any]:
        """The user's own keys of input.json."""
        return _mapping(self.input)


def _mapping(value: dict[str, Any] | str) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    try:
        content = yaml.safe_load(Path(value).read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as err:
        raise ValueError(f"cannot read {value} as JSON or YAML: {err}") from err
    if not isinstance(content, dict):
        raise ValueError(f"{value}: expected the keys of DeePMD-kit's input.json, got {content!r}")
    return content
