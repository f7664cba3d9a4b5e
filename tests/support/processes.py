"""What tests ask about processes."""

import psutil


def is_alive(pid: int) -> bool:
    """Whether a process runs. A zombie is dead: where no init reaps it, only its name is left."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
