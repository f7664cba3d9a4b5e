"""/admin/settings: which engines there are, and with what settings this one runs; nothing secret."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Any

from workflow_engine.access import Scope
from workflow_engine.dashboard.page import Group, Page
from workflow_engine.dashboard.told_settings import told_settings
from workflow_engine.dashboard.visit import Visit


async def read(visit: Visit) -> Mapping[str, Any]:
    told = told_settings(visit.settings, os.environ)
    only = visit.asked("only")
    sought = visit.asked("q").strip().lower()
    return {
        "settings": [
            one
            for one in told
            if (only != "set" or one.origin != "default") and sought in f"{one.name} {one.description}".lower()
        ],
        "set": sum(one.origin != "default" for one in told),
        "all": len(told),
        "only": only,
        "engines": await visit.store.alerts.engines(),
        "me": (socket.gethostname(), os.getpid()),
    }


PAGE = Page("/admin/settings", "settings.html", read, Scope.ENGINE_READ, "Settings", "s", Group.ENGINE)
