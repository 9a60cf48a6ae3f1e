from ._api import (
    Network as Network,
    Run as Run,
    attack as attack,
    autoattack as autoattack,
    compare as compare,
    data as data,
    evaluate as evaluate,
    load as load,
    resume as resume,
    runs as runs,
    train as train,
)
from ._base import (
    Attack as Attack,
    AttackBatch as AttackBatch,
    Loss as Loss,
    LossInput as LossInput,
    Model as Model,
    Objective as Objective,
    Scheduled as Scheduled,
    Target as Target,
    key as key,
)
from ._errors import Error as Error

__version__: str
