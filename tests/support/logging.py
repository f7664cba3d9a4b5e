"""Logging as a process of ours has it, for as long as a test needs it, and afterwards as it was."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from workflow_engine.observability.logs import configure_logging
from workflow_engine.settings import load_settings


@contextmanager
def configured_logging(role: str = "engine", **settings: str) -> Iterator[None]:
    """Without files unless `LOG_DIR` is given. What the test itself configures is undone as well."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    configure_logging(load_settings(**{"LOG_DIR": "off", **settings}), role=role)
    try:
        yield
    finally:
        configure_logging(load_settings(LOG_DIR="off"), role=role)  # closes log files
        structlog.reset_defaults()
        logging.captureWarnings(False)  # else the next one to ask for it gets none
        root.handlers[:] = handlers
        root.setLevel(level)
