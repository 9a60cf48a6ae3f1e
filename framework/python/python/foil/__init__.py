"""foil trains robust image classifiers."""

from ._version import FOIL as __version__

__all__ = ["__version__"]
