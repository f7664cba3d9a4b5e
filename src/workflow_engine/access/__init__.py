"""Who may do what, and the keys by which the engine knows who asks.

Pure: nothing here knows HTTP or Postgres.
"""

from workflow_engine.access.keys import NewKey, PresentedKey, hide_keys, make_key, read_key
from workflow_engine.access.scopes import ANYONE, NOBODY, ROLES, X_SCOPE, Principal, Role, Scope, declares

__all__ = [
    "ANYONE",
    "NOBODY",
    "ROLES",
    "X_SCOPE",
    "NewKey",
    "PresentedKey",
    "Principal",
    "Role",
    "Scope",
    "declares",
    "hide_keys",
    "make_key",
    "read_key",
]
