"""The harness: runs variants under one protocol and makes tables and figures of what they leave.

In Python, `benchmarks.run` trains as the command `run` does, and `benchmarks.read` reads a run folder.
"""

TYPE_CHECKING = False  # this file imports no module: the command line has not yet left out the working folder
if TYPE_CHECKING:
    from benchmarks.api import Run as Run
    from benchmarks.api import UserError as UserError
    from benchmarks.api import read as read
    from benchmarks.api import run as run

__all__ = ["Run", "UserError", "read", "run"]


def __dir__() -> list[str]:
    return [*globals(), *__all__]


def __getattr__(name: str) -> object:
    """Import the interface at its first use."""
    if name not in __all__:
        raise AttributeError(f"module 'benchmarks' has no attribute {name!r}")
    from benchmarks import api

    return getattr(api, name)
