"""Charts as SVG, by hand: horizontal bars, readable on a light page and on a dark one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

__all__ = ["Bar", "Panel", "chart"]

_WIDTH, _MARGIN = 960, 16
_LABELS, _VALUES = 290, 230  # what the words beside the bars take
_BAR, _GAP, _TITLE, _BETWEEN = 16, 6, 26, 14
_STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2328 }
.title { font-weight: 600 }
.value, .foot { fill: #59636e }
.ours { fill: #0969da }
.missed { fill: #bc4c00 }
.other { fill: #afb8c1 }
.target { stroke: #1f2328; stroke-width: 2 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .value, .foot { fill: #9198a1 }
  .ours { fill: #4493f8 }
  .missed { fill: #db6d28 }
  .other { fill: #57606a }
  .target { stroke: #e6edf3 }
}
"""


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar.

    Attributes:
        label: what stands before it.
        value: how long it is.
        told: what stands behind it.
        look: `ours`, `missed` or `other`.
        target: where a mark is put; None for none.
    """

    label: str
    value: float
    told: str
    look: str
    target: float | None = None


@dataclass(frozen=True, slots=True)
class Panel:
    """Bars that share a scale, from 0."""

    title: str
    bars: Sequence[Bar]

    @property
    def height(self) -> int:
        """How high it is, with the space behind it."""
        return _TITLE + len(self.bars) * (_BAR + _GAP) + _BETWEEN


def chart(panels: Sequence[Panel], foot: str) -> str:
    """Draws panels one below the other.

    Args:
        panels: what to draw.
        foot: a line of text below.

    Returns:
        The SVG.
    """
    height = 2 * _MARGIN + sum(panel.height for panel in panels) + _TITLE
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" role="img">',
        f"<title>{escape(', '.join(panel.title for panel in panels))}</title>",
        f"<style>{_STYLE}</style>",
    ]
    top = _MARGIN
    for panel in panels:
        lines += _drawn(panel, top)
        top += panel.height
    lines += [_text(_MARGIN, top + _TITLE // 2, foot, "foot"), "</svg>"]
    return "\n".join(lines) + "\n"


def _drawn(panel: Panel, top: int) -> list[str]:
    lines = [_text(_MARGIN, top + 14, panel.title, "title")]
    longest = max((max(bar.value, bar.target or 0) for bar in panel.bars), default=0) or 1
    room = _WIDTH - 2 * _MARGIN - _LABELS - _VALUES
    for number, bar in enumerate(panel.bars):
        lines += _bar(bar, top + _TITLE + number * (_BAR + _GAP), room / longest)
    return lines


def _bar(bar: Bar, top: int, scale: float) -> list[str]:
    left, base = _MARGIN + _LABELS, top + 13
    length = max(1.0, bar.value * scale)
    lines = [
        _text(_MARGIN, base, bar.label, "label"),
        f'<rect class="{bar.look}" x="{left}" y="{top}" width="{length:.1f}" height="{_BAR}" rx="2"/>',
    ]
    end = length
    if bar.target is not None:
        place = left + bar.target * scale
        lines.append(f'<line class="target" x1="{place:.1f}" x2="{place:.1f}" y1="{top - 2}" y2="{top + _BAR + 2}"/>')
        end = max(end, bar.target * scale)
    lines.append(_text(left + round(end) + 8, base, bar.told, "value"))
    return lines


def _text(x: int, y: int, words: str, look: str) -> str:
    return f'<text class="{look}" x="{x}" y="{y}">{escape(words)}</text>'
