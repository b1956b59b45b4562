"""Beam's RunInference without Beam's model manager, which imports PyTorch where that is installed.

Nothing of ours uses it, and it would cost every process that only looks at a flag several seconds.
Beam imports it by itself where a pipeline asks for it.
"""

import sys
from typing import Any

_MANAGER = "apache_beam.ml.inference.model_manager"
_modules: dict[str, Any] = sys.modules
_is_new = _MANAGER not in _modules
if _is_new:
    _modules[_MANAGER] = None  # cannot be imported, which Beam takes for "not installed"
try:
    from apache_beam.ml.inference.base import ModelHandler, RunInference
finally:
    if _is_new:
        del _modules[_MANAGER]

__all__ = ["ModelHandler", "RunInference"]
