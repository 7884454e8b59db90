"""Records of plug-ins. Does not import torch."""

from __future__ import annotations

import types
from dataclasses import dataclass


@dataclass(frozen=True)
class Plugin:
    """The text of a plug-in file, the repository and the commit from which it was read, and its name in errors."""

    source: str
    repository: str = ""
    commit: str = ""
    label: str = "the plug-in"


@dataclass(frozen=True)
class PluginModule:
    """The module of a plug-in. source: text of its file, or empty for an installed package.

    label: what error messages call it. fingerprint: hash of all source that the module reaches.
    """

    module: types.ModuleType
    label: str
    fingerprint: str
    source: str = ""
    repository: str = ""
    commit: str = ""
