"""Run a .terse file without torch, from its compressed form.

session = tersenet.runtime.open("model.terse", threads=0)
y = session(x)
"""

from tersenet.runtime.session import Activations, PlanRow, Session, TensorInfo, Tried, open, open_bytes

__all__ = ["Activations", "PlanRow", "Session", "TensorInfo", "Tried", "open", "open_bytes"]
