"""References by name, and how one is built from a campaign file."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Protocol

from pydantic import BaseModel, ValidationError

from voltaloop.core import CampaignFileError, Registry, Rung, did_you_mean
from voltaloop.core.contracts import Reference


class Engine(Protocol):
    """The class of a reference: its settings model, and a constructor that takes one."""

    Settings: ClassVar[type[BaseModel]]
    LADDER: ClassVar[tuple[Rung, ...]]

    def __call__(self, settings: Any, /) -> Reference: ...


REFERENCES: Registry[Engine] = Registry(
    kind="reference",
    builtin={
        "ase": "voltaloop.references.ase_calculator:AseCalculator",
        "chgnet": "voltaloop.references.chgnet:CHGNet",
        "faulty": "voltaloop.testing.faults:Faulty",
        "gpaw": "voltaloop.references.gpaw:Gpaw",
        "tblite": "voltaloop.references.tblite:Tblite",
    },
)


def build_reference(engine: str, settings: Mapping[str, Any]) -> Reference:
    """The reference named ``engine`` with its settings, as the campaign file gives them.

    Raises UnknownBackendError for a name no engine has, CampaignFileError for settings the engine
    does not take. Whether the engine is installed is another question: ``check_installed``.
    """
    loaded = REFERENCES.load(engine)
    try:
        validated = loaded.Settings.model_validate(dict(settings))
    except ValidationError as err:
        known = loaded.Settings.model_fields
        lines = "\n".join(f"  {_sentence(error, known)}" for error in err.errors())
        raise CampaignFileError(f"Settings of reference '{engine}':\n{lines}") from err
    return loaded(validated)


def _sentence(error: Mapping[str, Any], known: Iterable[str]) -> str:
    path = ".".join(str(part) for part in error["loc"]) or "settings"
    if error["type"] == "extra_forbidden" and len(error["loc"]) == 1:
        return (
            f"Unknown key '{path}'.{did_you_mean(path, known)} Known: {', '.join(sorted(known))}."
        )
    return f"{path}: {error['msg']}, got {error['input']!r}."
