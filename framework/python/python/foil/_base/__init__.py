"""What a plugin in Python is written with: base classes, keys, and what its methods get."""

from .attack import Adversarial, Attack, AttackBatch, Target
from .data import Data
from .facts import DataFacts
from .key import Plugin, Scheduled, key
from .loss import Loss, LossInput
from .model import Model
from .objective import Objective
from .scheduler import Progress, Scheduler

__all__ = [
    "Adversarial",
    "Attack",
    "AttackBatch",
    "Data",
    "DataFacts",
    "Loss",
    "LossInput",
    "Model",
    "Objective",
    "Plugin",
    "Progress",
    "Scheduled",
    "Scheduler",
    "Target",
    "key",
]
