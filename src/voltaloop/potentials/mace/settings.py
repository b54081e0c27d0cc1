"""Options of the potential ``mace``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator, model_validator

ARCHITECTURE = {
    "r_max": "r_max",
    "channels": "num_channels",
    "max_L": "max_L",
    "max_ell": "max_ell",
    "correlation": "correlation",
    "interactions": "num_interactions",
    "radial_basis": "num_radial_basis",
    "dtype": "default_dtype",
}
"""Options that make a network what it is, and what the training program calls them."""

OWN_NAMES = {
    **ARCHITECTURE,
    "foundation": "foundation_model",
    "batch_size": "batch_size",
    "epochs": "max_num_epochs",
    "learning_rate": "lr",
    "ema_decay": "ema_decay",
    "energy_weight": "energy_weight",
    "force_weight": "forces_weight",
    "stress_weight": "stress_weight",
    "stage_two_from": "start_swa",
    "stage_two_energy_weight": "swa_energy_weight",
    "stage_two_learning_rate": "swa_lr",
    "device": "device",
    "seed": "seed",
}
"""Options that have a name of their own here, and what the training program calls them."""

FILES = ("train_file", "valid_file", "test_file", "work_dir", "name", "config")
"""What the training program is told by us alone."""


class MaceSettings(BaseModel):
    """Options of the potential ``mace``; errors and weights are those of eV, Å and atoms.

    The defaults suit small sets: one member learns from about 75 frames of 16 atoms in one to two
    minutes on one core. Energies weigh far more than the training program has them weigh by
    default, as with few frames and few passes they are hardly learned otherwise.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    members: int = Field(
        default=4,
        ge=1,
        le=64,
        description="members of the committee, each trained by itself; one alone learns from all "
        "frames and has no spread",
    )
    foundation: str | None = Field(
        default=None,
        description="a .model file to fine-tune, by its full path, in place of training from "
        "scratch; it brings its own architecture. Such a file is a Python pickle and runs the code "
        "that it holds when the training program opens it: take it from people you trust",
    )
    r_max: float = Field(default=4.5, gt=1, le=12, description="cutoff of one layer in Å")
    channels: int = Field(default=16, ge=1, description="channels of the messages")
    max_L: int = Field(
        default=1,
        ge=0,
        le=3,
        description="highest angular momentum of the messages; 0 is invariant, and cheapest",
    )
    max_ell: int = Field(
        default=2, ge=0, le=4, description="highest angular momentum of the neighbourhoods"
    )
    correlation: int = Field(
        default=2, ge=1, le=4, description="neighbours seen at once in a layer: body order less one"
    )
    interactions: int = Field(
        default=2, ge=1, le=4, description="layers: an atom feels others at r_max times as many"
    )
    radial_basis: int = Field(default=8, ge=1, description="radial functions")
    batch_size: int = Field(
        default=2, ge=1, description="frames of one step; small sets want small batches"
    )
    epochs: int = Field(
        default=30, ge=1, description="passes over the frames when training begins anew"
    )
    retrain_epochs: int = Field(
        default=10, ge=1, description="passes when training goes on from the last committee"
    )
    learning_rate: float = Field(default=0.01, gt=0, description="of the first pass")
    retrain_learning_rate: float = Field(
        default=0.002,
        gt=0,
        description="of the first pass where training goes on from the last committee or from a "
        "foundation",
    )
    last_learning_rate: float = Field(
        default=0.0005, gt=0, description="to which it falls exponentially, and of stage two"
    )
    ema_decay: float | None = Field(
        default=0.99,
        gt=0,
        lt=1,
        description="decay of the moving average of the weights that is kept; null keeps the "
        "weights themselves",
    )
    energy_weight: float = Field(
        default=1000.0, ge=0, description="of the squared error per atom, (eV/atom)²"
    )
    force_weight: float = Field(
        default=100.0, ge=0, description="of the squared error of forces, (eV/Å)²"
    )
    stress_weight: float = Field(
        default=1e4, ge=0, description="of the squared error of stresses, (eV/Å3)²"
    )
    stage_two_from: float | None = Field(
        default=0.75,
        gt=0,
        lt=1,
        description="share of the passes after which energies weigh more (stage two, which was "
        "called swa); null: never",
    )
    stage_two_energy_weight: float = Field(
        default=3000.0, ge=0, description="energy_weight of stage two"
    )
    dtype: Literal["float32", "float64"] = Field(
        default="float32",
        description="precision of training and of predictions; float64 takes about 1.5 times "
        "longer",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="auto: a CUDA GPU where torch finds one"
    )
    seed: int = Field(default=0, ge=0, description="member k has seed + k")
    extra: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="more options of mace_run_train by their own names, without dashes; they win "
        "over what voltaloop would have chosen, such as E0s or the scheduler",
    )

    @field_validator("foundation")
    @classmethod
    def _is_a_full_path(cls, value: str | None) -> str | None:
        if value is None:
            return None
        path = Path(value).expanduser()
        if not path.is_absolute():
            raise ValueError(
                f"expected the full path of a .model file, got '{value}'. Workers run in other "
                f"folders; write for example '{Path.cwd() / value}'. Names of models to download "
                "are not taken: download the file first."
            )
        return str(path)

    @model_validator(mode="after")
    def _extra_is_not_said_twice(self) -> MaceSettings:
        by_program = {theirs: ours for ours, theirs in OWN_NAMES.items()}
        for key in self.extra:
            if key in by_program:
                raise ValueError(f"extra: '{key}' is the option '{by_program[key]}' here.")
            if key in FILES:
                raise ValueError(f"extra: '{key}' is chosen by voltaloop. Leave it out.")
        return self

    @property
    def architecture(self) -> dict[str, Any]:
        """What has to be the same for training to go on from earlier models."""
        chosen = {name: getattr(self, name) for name in ARCHITECTURE}
        return {**chosen, "foundation": self.foundation, "extra": self.extra}
