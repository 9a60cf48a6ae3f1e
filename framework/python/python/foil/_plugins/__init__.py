"""Plugins in Python as Rust calls them: it finds these functions here by name."""

from .attack import after_gradient, complete, learn, learns, perturb, remark
from .declared import check_objective
from .find import Fault, where
from .keys import make, scheduled, schema
from .loss import after_epoch, after_update, step
from .model import network, run, tensors
from .objective import value
from .scheduler import number
from .state import state
from .trial import trial

__all__ = [
    "Fault",
    "after_epoch",
    "after_gradient",
    "after_update",
    "check_objective",
    "complete",
    "learn",
    "learns",
    "make",
    "network",
    "number",
    "perturb",
    "remark",
    "run",
    "scheduled",
    "schema",
    "state",
    "step",
    "tensors",
    "trial",
    "value",
    "where",
]
