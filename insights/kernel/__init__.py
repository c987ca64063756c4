"""The stateful session in which agents work: a sandboxed Python kernel, its limits, and its gateway.

`Kernel.run(code)` gives a `Cell`; `Gateway` is the only way by which code in a cell can act outside of it.
What the sandbox grants is in sandbox.py; inside/ is what runs within it.
"""

from insights.kernel.cell import Cell, Limits
from insights.kernel.gateway import Gateway
from insights.kernel.sandbox import choose_sandbox
from insights.kernel.session import Kernel

__all__ = ["Cell", "Gateway", "Kernel", "Limits", "choose_sandbox"]
