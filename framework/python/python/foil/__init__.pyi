from ._api import (
    Network as Network,
)
from ._api import (
    Run as Run,
)
from ._api import (
    attack as attack,
)
from ._api import (
    autoattack as autoattack,
)
from ._api import (
    compare as compare,
)
from ._api import (
    data as data,
)
from ._api import (
    evaluate as evaluate,
)
from ._api import (
    load as load,
)
from ._api import (
    resume as resume,
)
from ._api import (
    runs as runs,
)
from ._api import (
    train as train,
)
from ._base import (
    Adversarial as Adversarial,
)
from ._base import (
    Attack as Attack,
)
from ._base import (
    AttackBatch as AttackBatch,
)
from ._base import (
    Data as Data,
)
from ._base import (
    DataFacts as DataFacts,
)
from ._base import (
    Loss as Loss,
)
from ._base import (
    LossInput as LossInput,
)
from ._base import (
    Model as Model,
)
from ._base import (
    Objective as Objective,
)
from ._base import (
    Progress as Progress,
)
from ._base import (
    Scheduled as Scheduled,
)
from ._base import (
    Scheduler as Scheduler,
)
from ._base import (
    Target as Target,
)
from ._base import (
    key as key,
)
from ._errors import Error as Error

__version__: str
