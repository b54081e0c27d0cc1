"""The commented campaign file that ``voltaloop init`` writes."""

from __future__ import annotations

import json
from textwrap import wrap
from typing import Any

import yaml
from pydantic import BaseModel

from voltaloop.campaigns.file import CampaignFile
from voltaloop.potentials import POTENTIALS
from voltaloop.references import REFERENCES

_EXAMPLE = {
    "material": {"structure": "LiNiO2"},
    "stop": {"wall_time": "10m"},
    "resources": {"task_limit": "6h"},
}
_NESTED = {"gate", "starting"}
WIDTH = 44
LONGEST = 100


def campaign_template(name: str) -> str:
    """Every key with its default, and its description as a comment."""
    lines = [
        "# A voltaloop campaign. Every key below shows its default; remove what you do not change.",
        f"name: {_yaml_text(name)}",
        "seed: 1".ljust(WIDTH) + f"# {_description(CampaignFile, 'seed')}",
    ]
    for key in ("material", "reference", "potential", "explore", "select", "audit", "stop"):
        lines += _section(key)
    for key in ("resources", "store"):
        lines += _section(key)
    return "\n".join(lines) + "\n"


def _section(key: str) -> list[str]:
    model = _model(CampaignFile, key)
    lines = ["", *_commented(f"{key}:", (model.__doc__ or key).strip().splitlines()[0], 0)]
    lines += _fields(model, _EXAMPLE.get(key, {}), indent=2)
    engines: dict[str, type[BaseModel]] = {}
    if key == "reference":
        engines = {"chgnet": REFERENCES.load("chgnet").Settings}
    if key == "potential":
        engines = {"pod": POTENTIALS.load("pod").Settings}
    for settings in engines.values():
        lines += _fields(settings, {}, indent=2)
    return lines


def _fields(model: type[BaseModel], example: dict[str, Any], indent: int) -> list[str]:
    lines: list[str] = []
    for name, field in model.model_fields.items():
        if name in _NESTED:
            lines += _commented(f"{name}:", field.description, indent)
            lines += _fields(_model(model, name), {}, indent + 2)
            continue
        value = example.get(name, field.default)
        lines += _commented(f"{field.alias or name}: {_yaml(value)}", field.description, indent)
    return lines


def _commented(text: str, description: str | None, indent: int) -> list[str]:
    """The text with its description behind it, or above it where the line would be too long."""
    margin, comment = " " * indent, f"# {description or ''}".rstrip(" #")
    line = (margin + text).ljust(WIDTH) + comment
    if len(line) <= LONGEST:
        return [line.rstrip()]
    above = wrap(comment, LONGEST, initial_indent=margin, subsequent_indent=f"{margin}# ")
    return [*above, margin + text]


def _model(parent: type[BaseModel], name: str) -> type[BaseModel]:
    model = parent.model_fields[name].annotation
    assert isinstance(model, type)  # noqa: S101 - sections are plain models
    assert issubclass(model, BaseModel)  # noqa: S101
    return model


def _description(model: type[BaseModel], name: str) -> str:
    return model.model_fields[name].description or ""


def _yaml_text(text: str) -> str:
    """In quotes where YAML would read a number, a date or a yes."""
    try:
        plain = yaml.safe_load(text) == text
    except (yaml.YAMLError, ValueError):
        plain = False
    return text if plain else json.dumps(text)


def _yaml(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_yaml(item) for item in value) + "]"
    return str(value)
