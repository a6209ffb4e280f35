"""Examine what this machine has for tonghua, what it lacks, and how to fix that.

    versions, device, memory, disks, hubs, fonts ──examine──► Diagnosis, Diagnosis, ...

Most diagnoses are pure functions of facts that `examine` gathers. This module prints nothing.
"""

import platform
from collections.abc import Iterator
from pathlib import Path

import psutil

from ..config.schema import Config
from ..system.environment import home, is_offline
from .diagnosis import Diagnosis
from .hardware import diagnose_device, memory
from .packages import (
    EXTRAS,
    PLOTS,
    SAFE,
    extras,
    installed_versions,
    least_python,
    packages,
    pip_command,
    python,
    requirements,
    security,
)
from .surroundings import diagnose_fonts, diagnose_hubs, look_at, room_for_models, room_for_runs


def examine(offline: bool) -> Iterator[Diagnosis]:
    """Yield each diagnosis as soon as it is made. Opens no socket if `offline` or TONGHUA_OFFLINE is set."""
    needed = requirements()
    installed = installed_versions((*SAFE, *EXTRAS, PLOTS, *(requirement.name for requirement in needed)))
    pip = pip_command()
    yield python(platform.python_version(), least_python(), f"{platform.system()} {platform.machine()}")
    yield packages(installed, needed, pip)
    yield security(installed, pip)
    yield diagnose_device(pip)
    machine = psutil.virtual_memory()
    yield memory(machine.total, machine.available)
    yield room_for_runs(look_at(Path(Config.model_fields["output_dir"].default)))
    yield room_for_models(look_at(home()))
    yield diagnose_hubs(offline or is_offline())
    if PLOTS in installed:
        yield diagnose_fonts()
    yield extras(installed, pip)
