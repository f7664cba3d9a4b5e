"""No file of the project holds a secret."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]

# What keys of the usual kinds look like; words in between keep this file from finding itself.
_SECRETS = re.compile(
    rb"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----[\r\n]+[A-Za-z0-9+/=]"
    rb"|\bAKIA[0-9A-Z]{16}\b"
    rb"|\bgh[pousr]_[A-Za-z0-9]{36}"
    rb"|\bgithub_pat_[A-Za-z0-9_]{60}"
    rb"|\bxox[abprs]-[A-Za-z0-9-]{20}"
    rb"|\bsk-(?:ant-|proj-)?[A-Za-z0-9_-]{32}"
    rb"|\bwfk_[A-Za-z0-9]{8,}_[A-Za-z0-9_-]{40}"
)

_MADE_UP = ("tests/unit/test_redaction.py",)  # what looks like one on purpose


def test_no_file_holds_what_looks_like_a_key() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.split(b"\0")
    found = {
        name.decode(): match[0][:12]
        for name in listed
        if name
        and not name.decode().startswith(_MADE_UP)
        and (path := ROOT / name.decode()).is_file()
        and (match := _SECRETS.search(path.read_bytes()))
    }

    assert len(listed) > 100, "is this a checkout?"
    assert found == {}
