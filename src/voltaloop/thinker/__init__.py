"""The engine that steers a campaign: events in, decisions out, everything in the log first."""

from voltaloop.thinker.ledger import MAX_ATTEMPTS, Flight, Ledger, attempts_allowed
from voltaloop.thinker.mind import EXTERNAL, Draft, Mind, Mismatch, Policy, replay
from voltaloop.thinker.steering import Outcome, Steering

__all__ = [
    "EXTERNAL",
    "MAX_ATTEMPTS",
    "Draft",
    "Flight",
    "Ledger",
    "Mind",
    "Mismatch",
    "Outcome",
    "Policy",
    "Steering",
    "attempts_allowed",
    "replay",
]
