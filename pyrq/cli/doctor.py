"""`pyrq doctor`: what is wrong with a server for a queue, and what to change."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

from pyrq.backends import urls
from pyrq.cli.advice import Finding, Level, advise, advise_way
from pyrq.cli.demo import UsageError
from pyrq.cli.examine import examine, way_of
from pyrq.cli.facts import Asked
from pyrq.core.errors import RqError
from pyrq.core.keys import check_name

__all__ = ["run_doctor"]

_FAKE = Finding(
    Level.WARN,
    "memory:// is a fake in this process: nobody else sees it, and nothing outlives the process",
    "Use it in tests; embedded:///dir keeps what it is given",
)
_TRUST = "Its certificate is not trusted here, or is for another host: put ssl_ca_certs=/path into the URL"
_CHECK_SENTINELS = "Check the Sentinels' addresses, and that they know this service and its primary"


def run_doctor(url: str | None, queue: str | None, asked: Asked, *, strict: bool, as_json: bool) -> int:
    """Examines a server and prints what was found.

    Args:
        url: where it is; None for PYRQ_URL, else the local one.
        queue: a queue to look at too, or None.
        asked: what is asked of the server.
        strict: whether a warning is a failure.
        as_json: whether a program reads it.

    Returns:
        The exit status: 1 if something is wrong, else 0.

    Raises:
        UsageError: the URL or the name can't be used.
    """
    try:
        checked = None if queue is None else check_name("--queue", queue)
        findings = _findings(urls.default_url() if url is None else url, checked, asked)
    except ValueError as error:
        raise UsageError(str(error)) from None
    print(_as_json(findings) if as_json else _as_text(findings), flush=True)
    bad = (Level.FAIL, Level.WARN) if strict else (Level.FAIL,)
    return 1 if any(each.level in bad for each in findings) else 0


def _findings(url: str, queue: str | None, asked: Asked) -> list[Finding]:
    if urls.scheme_of(url) == "memory":
        return [_FAKE]
    try:
        return advise(examine(url, queue, asked), asked)
    except RqError as error:
        wrong = [each for each in advise_way(way_of(url)) if each.level is not Level.OK]
        return [Finding(Level.FAIL, str(error), _what_to_check(url, error)), *wrong]


def _what_to_check(url: str, error: RqError) -> str:
    """Says what may be the reason that a server can't be reached, where the error itself does not."""
    if "CERTIFICATE_VERIFY_FAILED" in str(error.__cause__):
        return _TRUST
    if url == urls.LOCAL:
        return "This is the default, on this machine: give a URL, or put one into PYRQ_URL"
    return _CHECK_SENTINELS if url.startswith("redis+sentinel:") else ""


def _as_text(findings: Sequence[Finding]) -> str:
    lines = []
    for each in findings:
        lines.append(f"{each.level:<4} {each.what}")
        if each.change:
            lines.append(f"     -> {each.change}")
    counts = Counter(each.level for each in findings)
    lines.append(", ".join(f"{counts[level]} {level}" for level in Level))
    # A name that somebody put there must not speak to the terminal.
    return "\n".join("".join(each if each.isprintable() else "?" for each in line) for line in lines)


def _as_json(findings: Sequence[Finding]) -> str:
    return json.dumps([asdict(each) for each in findings], indent=2)
