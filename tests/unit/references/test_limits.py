import pytest
from pydantic import ValidationError

from voltaloop.references import Gate


def test_every_limit_of_the_gate_is_documented_and_positive():
    assert all(field.description for field in Gate.model_fields.values())
    for name in Gate.model_fields:
        with pytest.raises(ValidationError, match="greater than 0"):
            Gate(**{name: 0.0})


def test_the_gate_refuses_an_unknown_limit():
    with pytest.raises(ValidationError, match="max_force"):
        Gate(max_force=3.0)
