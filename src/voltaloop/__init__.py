"""voltaloop: closed-loop discovery of battery materials, unattended."""

from importlib.metadata import version

__version__ = version("voltaloop")
__all__ = ["__version__"]
