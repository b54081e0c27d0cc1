"""Canonical JSON and its SHA-256: the identity of frames, tasks and settings."""

import hashlib
import json
from typing import Any

_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)


def canonical_json(data: Any) -> str:
    """JSON with sorted keys and no spaces; NaN and infinity are refused."""
    return _ENCODER.encode(data)


def digest_of(data: Any) -> str:
    """SHA-256 (64 hex digits) of the canonical JSON of ``data``."""
    return hashlib.sha256(canonical_json(data).encode()).hexdigest()
