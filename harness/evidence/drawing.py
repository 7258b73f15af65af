"""A path for people: as JSON, as two lines of text, and as a drawing. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from .legs import Leg, Way
from .parties import ObservedDevice, Parties
from .verdicts import ObservedPath

__all__ = ["as_json", "as_svg", "as_text"]


def as_json(path: ObservedPath) -> dict[str, Any]:
    """Dictionary for `json.dumps`: everything that was counted, and what follows from it."""
    return {
        "phase": path.phase,
        "verdict": path.verdict.value,
        "by": list(path.by),
        "shares": {name: round(share, 4) for name, share in path.shares.items()},
        "delivered_directly": path.delivered_directly,
        "attempted_directly": path.attempted_directly,
        "witnesses": list(path.witnesses),
        "contradictions": list(path.contradictions),
        "doubts": list(path.doubts),
        "legs": [
            {
                "source": leg.source,
                "target": leg.target,
                "way": leg.way.value,
                "attempted": asdict(leg.attempted) if leg.attempted is not None else None,
                "delivered": asdict(leg.delivered) if leg.delivered is not None else None,
            }
            for leg in path.legs
        ],
        "hops": [{"witness": hop.witness, "place": hop.place, **asdict(hop.load)} for hop in path.hops],
    }


def as_text(path: ObservedPath) -> str:
    """Two lines: the verdict with its witnesses, and what went where."""
    legs = "; ".join(f"{leg.source} > {leg.target} {_label(leg)}" for leg in path.legs) or "nothing passed"
    return f"{path.sentence}\n{legs}"


# The drawing: services on top, below each device's column what it is behind, and at the bottom the devices.

COLUMN = 400
BOX_WIDTH, BOX_HEIGHT, GAP = 170, 34, 12
MARGIN = 30
SERVICES_Y = 50
DEVICES_Y = 360
COLOURS = {Way.DIRECT: "#1a7f37", Way.RELAYED: "#0b57d0", Way.FOREIGN: "#c5221f"}
STYLE = (
    ".path text{font:12px 'DejaVu Sans',Arial,sans-serif;fill:#222;text-anchor:middle}"
    ".path .n{font-weight:bold}.path .l{paint-order:stroke;stroke:#fff;stroke-width:4px}"
    ".path rect{fill:#f6f8fa;stroke:#57606a}.path .nat{fill:#fff8e1}.path .service{fill:#e8f0fe}"
)


def as_svg(path: ObservedPath, parties: Parties) -> str:
    """Devices, what they are behind, who carries, and arrows with what went along them.

    A whole line: it arrived. A broken line: nothing did. Wide as the number of devices needs.
    """
    devices = list(parties.devices)
    carriers = list(dict.fromkeys(leg.by for leg in path.legs if leg.by)) or [
        service.name for service in parties.relays
    ]
    width = COLUMN * max(len(devices), len(carriers), 2)
    columns = {each.name: _column(number, len(devices), width) for number, each in enumerate(devices)}
    places = {name: _column(number, len(carriers), width) for number, name in enumerate(carriers)}
    tops = {each.name: DEVICES_Y - len(each.behind) * (BOX_HEIGHT + GAP) for each in devices}
    height = DEVICES_Y + BOX_HEIGHT + MARGIN
    arrows = [*_carried(path.legs, columns, tops, places), *_direct(path.legs, columns, tops)]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
            f'height="{height}" class="path" role="img">',
            f"<title>{escape(f'{path.phase}: {path.name}')}</title>",
            f"<desc>{escape(as_text(path))}</desc>",
            f"<style>{STYLE}</style>",
            *_arrow_heads(),
            f'<rect width="{width}" height="{height}" style="fill:#fff;stroke:none"/>',
            f'<text x="{width // 2}" y="24" class="n">{escape(f"{path.phase}: {path.name}")}</text>',
            *(line for line, _ in arrows),
            *(words for _, words in arrows),
            *(_box(x, SERVICES_Y, name, "service") for name, x in places.items()),
            *(part for each in devices for part in _device(each, columns[each.name])),
            "</svg>",
            "",
        ]
    )


def _column(number: int, of: int, width: int) -> int:
    return width * (2 * number + 1) // (2 * of)


def _device(device: ObservedDevice, x: int) -> Iterator[str]:
    network = f" ({device.network})" if device.network else ""
    yield _box(x, DEVICES_Y, f"{device.name}{network}", "device")
    for number, router in enumerate(device.behind, start=1):
        yield _box(x, DEVICES_Y - number * (BOX_HEIGHT + GAP), router, "nat")


def _box(x: int, y: int, name: str, kind: str) -> str:
    return (
        f'<rect class="{kind}" x="{x - BOX_WIDTH // 2}" y="{y}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6"/>'
        f'<text x="{x}" y="{y + 22}" class="n">{escape(name)}</text>'
    )


def _carried(
    legs: Iterable[Leg], columns: dict[str, int], tops: dict[str, int], places: dict[str, int]
) -> Iterator[tuple[str, str]]:
    """Straight lines between devices and who carries: what goes up on the left, what comes down on the right."""
    for leg in legs:
        if leg.way is not Way.DIRECT:
            rising = leg.source in columns
            device = leg.source if rising else leg.target
            if device in columns and leg.by in places:
                side = -7 if rising else 7
                low = (columns[device] + side, tops[device])
                high = (places[leg.by] + side, SERVICES_Y + BOX_HEIGHT)
                ends = (low, high) if rising else (high, low)
                # Apart from each other, so that one label does not cover the other.
                middle = _between(low, high, 0.25 if rising else 0.5)
                yield (
                    _line(leg, f"M{_xy(ends[0])} L{_xy(ends[1])}"),
                    _words(leg, "↑" if rising else "↓", middle),
                )


def _direct(legs: Iterable[Leg], columns: dict[str, int], tops: dict[str, int]) -> Iterator[tuple[str, str]]:
    """Arcs between devices: to the right the upper one, to the left the lower one."""
    for leg in legs:
        if leg.way is Way.DIRECT and {leg.source, leg.target} <= columns.keys():
            rightward = columns[leg.source] < columns[leg.target]
            inward = 50 if rightward else -50
            start = (columns[leg.source] + inward, tops[leg.source])
            end = (columns[leg.target] - inward, tops[leg.target])
            top = min(start[1], end[1]) - (80 if rightward else 20)
            control = ((start[0] + end[0]) // 2, top)
            middle = (control[0], (start[1] + end[1] + 2 * top) // 4 + (-6 if rightward else 16))
            yield (
                _line(leg, f"M{_xy(start)} Q{_xy(control)} {_xy(end)}"),
                _words(leg, "→" if rightward else "←", middle),
            )


def _line(leg: Leg, shape: str) -> str:
    arrived = leg.delivered or (leg.delivered is None and leg.way is not Way.DIRECT)
    broken = "" if arrived else ' stroke-dasharray="5 4"'
    return (
        f'<path d="{shape}" fill="none" stroke="{COLOURS[leg.way]}" stroke-width="2"{broken} '
        f'marker-end="url(#{leg.way.value})">'
        f"<title>{escape(f'{leg.source} > {leg.target}: {_label(leg)}')}</title></path>"
    )


def _words(leg: Leg, arrow: str, at: tuple[int, int]) -> str:
    return f'<text class="l" x="{at[0]}" y="{at[1]}">{arrow} {escape(_label(leg))}</text>'


def _arrow_heads() -> Iterator[str]:
    for way, colour in COLOURS.items():
        yield (
            f"<marker id={quoteattr(way.value)} viewBox='0 0 8 8' refX='8' refY='4' markerWidth='7' markerHeight='7' "
            f"orient='auto'><path d='M0 0 L8 4 L0 8 Z' fill='{colour}'/></marker>"
        )


def _between(start: Sequence[int], end: Sequence[int], share: float) -> tuple[int, int]:
    x, y = (round(one + share * (other - one)) for one, other in zip(start, end, strict=True))
    return x, y


def _xy(point: Sequence[int]) -> str:
    return f"{point[0]} {point[1]}"


def _label(leg: Leg) -> str:
    """Count of what arrived; where nobody saw it arrive, of what was sent."""
    if leg.delivered is not None and leg.attempted is not None and leg.attempted != leg.delivered:
        return f"{leg.delivered} of {leg.attempted}"
    if leg.delivered is None and leg.way is Way.DIRECT:
        return f"none of {leg.attempted}"
    return str(leg.delivered if leg.delivered is not None else leg.attempted)
