"""Compiles ``_swap.c`` for the running interpreter. A test tool needs this, the package never does."""

from __future__ import annotations

import shlex
import subprocess
import sysconfig
from pathlib import Path

SOURCE = Path(__file__).with_name("_swap.c")


class CannotBuild(Exception):
    """There is no C compiler, or the interpreter's headers are missing."""


def build(folder: Path) -> Path:
    """Compile the extension module into ``folder`` and return its path."""
    include = sysconfig.get_path("include")
    if not Path(include, "internal", "pycore_frame.h").exists():
        raise CannotBuild(f"no CPython headers in {include}: install the python3.x-dev package of this Python")
    target = folder / f"_swap{sysconfig.get_config_var('EXT_SUFFIX') or '.so'}"
    compiler = shlex.split(sysconfig.get_config_var("CC") or "cc")[0]
    for name in dict.fromkeys([compiler, "cc", "gcc", "clang"]):
        command = [name, "-shared", "-fPIC", "-O2", f"-I{include}", str(SOURCE), "-o", str(target)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            continue
        if done.returncode == 0:
            return target
        raise CannotBuild(f"{shlex.join(command)} failed:\n{done.stderr[-3000:]}")
    raise CannotBuild("no C compiler (cc, gcc or clang) on the PATH: install one to run the suites under recapture")
