"""Options of the potential ``chgnet``."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class ChgnetSettings(BaseModel):
    """Options of the potential ``chgnet``; errors and weights are those of eV, Å and atoms.

    All members start at the same shipped weights and differ by what they leave out and by the order
    of the frames, so they agree more with each other than with the truth: mind the calibration.
    Where the reference of the campaign is CHGNet itself, training starts next to the truth (the
    dispersion is all that is new) and its figures say nothing about other references.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    members: int = Field(
        default=3,
        ge=1,
        le=64,
        description="members of the committee, each trained by itself; one alone learns from all "
        "frames and has no spread",
    )
    model: Literal["0.3.0", "r2scan"] = Field(
        default="0.3.0",
        description="shipped weights to start from: 0.3.0 knows PBE(+U), r2scan r2SCAN energies",
    )
    freeze: Literal["nothing", "embeddings", "all_but_last"] = Field(
        default="embeddings",
        description="what keeps the shipped weights: nothing; the embeddings of atoms, bonds and "
        "angles; or all but the last convolution and what comes after it",
    )
    epochs: int = Field(
        default=5, ge=1, description="passes over the frames that start at the shipped weights"
    )
    retrain_epochs: int = Field(
        default=3, ge=1, description="passes when training goes on from the last committee"
    )
    batch_size: int = Field(default=4, ge=1, description="frames of one step")
    learning_rate: float = Field(
        default=0.001, gt=0, description="of the first step; it falls by a cosine to a hundredth"
    )
    energy_weight: float = Field(
        default=10.0, ge=0, description="of the squared error per atom, (eV/atom)²"
    )
    force_weight: float = Field(
        default=1.0, ge=0, description="of the squared error of forces, (eV/Å)²"
    )
    stress_weight: float = Field(
        default=100.0, ge=0, description="of the squared error of stresses, (eV/Å3)²"
    )
    moment_weight: float = Field(
        default=0.0,
        ge=0,
        description="of the squared error of the sizes of the magnetic moments, μB², where labels "
        "have some; 0 leaves them out",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="auto: a CUDA GPU where torch finds one"
    )
    seed: int = Field(default=0, ge=0, description="member k has seed + k")

    @property
    def architecture(self) -> dict[str, Any]:
        """What has to be the same for training to go on from earlier models."""
        return {"model": self.model}
