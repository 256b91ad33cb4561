"""On what it was measured: date, machine, versions."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import redis

import pyrq
from benchmarks.site import Site

__all__ = ["date_of", "setting_of", "told"]

_CPUINFO = Path("/proc/cpuinfo")


def setting_of(site: Site, seed: int, *, quick: bool) -> dict[str, Any]:
    """Gives what a reader must know to judge the figures, as JSON has it. No name of a machine, path or address."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "quick": quick,
        "seed": seed,
        "rounds": site.scale.rounds,
        "machine": f"{_processor()}, {_cores()} cores, {platform.system()} {platform.machine()}",
        "server": _server(site),
        "python": platform.python_version(),
        "client": f"redis-py {redis.__version__}, {_hiredis()}",
        "py-rq": pyrq.__version__,
        "peers": {},
    }


def date_of(setting: Mapping[str, Any]) -> str:
    """Gives the day of a run."""
    return str(setting["date"]).split(" ")[0]


def told(setting: Mapping[str, Any]) -> list[str]:
    """Gives the setting in lines of text."""
    rounds = f"medians of {setting['rounds']} rounds, of 5 where a round takes long"
    lines = [
        f"{setting['date']}; {setting['machine']}",
        f"{setting['server']}; Python {setting['python']}, {setting['client']}; py-rq {setting['py-rq']}",
        f"items of 100 bytes; {rounds}; --seed {setting['seed']}{' --quick' if setting['quick'] else ''}",
    ]
    peers = "; ".join(f"{label}: {versions}" for label, versions in setting["peers"].items())
    return [*lines, f"beside: {peers}"] if peers else lines


def _server(site: Site) -> str:
    facts = site.client.info("server")
    name = "Valkey" if "valkey_version" in facts else "Redis"
    how = "embedded, unix socket, appendfsync everysec" if site.own else "named by --url"
    return f"{name} {facts.get('valkey_version', facts.get('redis_version'))} ({how})"


def _hiredis() -> str:
    try:
        return f"hiredis {importlib.metadata.version('hiredis')}"
    except importlib.metadata.PackageNotFoundError:
        return "no hiredis"


def _processor() -> str:
    try:
        found = re.search(r"^model name\s*: (.+)$", _CPUINFO.read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or "processor unknown"


def _cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
