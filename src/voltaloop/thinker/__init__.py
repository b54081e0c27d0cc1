"""The engine that steers a campaign: events in, decisions out, everything in the log first."""

from voltaloop.thinker.ledger import MAX_ATTEMPTS, Flight, Ledger
from voltaloop.thinker.mind import EXTERNAL, Mind, Mismatch, Policy, replay
from voltaloop.thinker.steering import Outcome, Steering

__all__ = [
    "EXTERNAL",
    "MAX_ATTEMPTS",
    "Flight",
    "Ledger",
    "Mind",
    "Mismatch",
    "Outcome",
    "Policy",
    "Steering",
    "replay",
]
