"""Drawing of a path as SVG: devices at the bottom, what they are behind above them, services on top, and between them
one line for both directions with both numbers beside it. A pure function of what a record has.

A whole line: something arrived. A broken line: nothing did. Of more than three devices there is no drawing: `as_grid`
is a table of the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import combinations

from ..text import clean
from .observations import DeviceAt, LegSeen, LoadSeen, PathSeen
from .tables import Grid, Mark

__all__ = ["MOST_DEVICES", "Box", "Layout", "amount", "as_grid", "as_svg", "as_text", "boxes"]

MOST_DEVICES = 3
DIRECT = "direct"
BOX_WIDTH, BOX_HEIGHT, GAP = 190, 32, 12
CHARACTER = 7.0
"""Width of a character in a label, at most, on average."""
SERVICES_Y = 44
DEVICES_Y = 320
BETWEEN = 60
"""Pixels between two boxes, at least."""
MARGIN = 16
ARC = 100
"""Height of an arc above a device, and above each in between; half of it is seen."""
ASIDE = 40
"""Pixels from the middle of a device to the beginning of its arc."""
ALONG = (0.5, 0.4, 0.6, 0.3, 0.7, 0.2, 0.8, 0.1, 0.9)
"""Places along a line where its label may stand, the best first."""


BESIDE = (0, 20, -20, 40, -40)
"""Pixels below the line at which it may stand, where there is no place on it."""


@dataclass(frozen=True)
class Box:
    """A rectangle that nothing else may cover."""

    x: float
    y: float
    width: float
    height: float

    def overlaps(self, other: Box) -> bool:
        return (
            self.x < other.x + other.width
            and other.x < self.x + self.width
            and self.y < other.y + other.height
            and other.y < self.y + self.height
        )


@dataclass(frozen=True)
class Layout:
    """Places of everything on a drawing."""

    width: float
    height: float
    nodes: tuple[tuple[Box, str, str], ...]
    """Box, words and class of each device, router and service."""
    lines: tuple[tuple[str, str, str], ...]
    """Shape, class and words of each line."""
    labels: tuple[tuple[Box, tuple[str, ...]], ...]
    """Box of each label, and its lines of words."""


def as_svg(path: PathSeen, style: str = "") -> str:
    """The drawing; empty without legs, and for more devices than can be told apart.

    `style`: a style sheet for a drawing that is a file of its own; a page has it already.
    """
    if not path.legs or not 0 < len(path.devices) <= MOST_DEVICES:
        return ""
    layout = boxes(path)
    title = _text(f"{_about(path)}: {path.name}")
    parts = [
        f'<path class="way {kind}" d="{shape}"><title>{_text(words)}</title></path>'
        for shape, kind, words in layout.lines
    ]
    parts += [_label(box, words) for box, words in layout.labels]
    parts += [_node(box, name, kind) for box, name, kind in layout.nodes]
    size = f"{layout.width:.0f}", f"{layout.height:.0f}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="path" viewBox="0 0 {" ".join(size)}" '
        f'width="{size[0]}" height="{size[1]}" role="img"><title>{title}</title><desc>{_text(as_text(path))}</desc>'
        f"{f'<style>{style}</style>' if style else ''}"
        f'<text class="mid head" x="{layout.width / 2:.0f}" y="24">{title}</text>{"".join(parts)}</svg>'
    )


def as_text(path: PathSeen) -> str:
    """The verdict with its witnesses, and what went where."""
    why = "; ".join(path.doubts or path.contradictions)
    head = f"{_about(path)}: {path.name}, by {' and '.join(path.witnesses) or 'no witness'}{f': {why}' if why else ''}"
    legs = "; ".join(f"{leg.source} to {leg.target} {_leg(leg)}" for leg in _drawn(path))
    return f"{head}. {legs or 'Nothing passed'}."


def as_grid(path: PathSeen) -> Grid:
    """From whom to whom how much went, for swarms of any size."""
    legs = _drawn(path)
    names = [each.name for each in path.devices]
    rows = list(dict.fromkeys([*names, *(leg.source for leg in legs)]))
    columns = list(dict.fromkeys([*names, *(leg.target for leg in legs)]))
    marks = {(leg.source, leg.target): Mark(_leg(leg)) for leg in legs}
    return Grid("from \\ to", rows, columns, marks)


def boxes(path: PathSeen) -> Layout:
    """Where everything stands: no box covers another, as long as there is room for its label along a line."""
    legs = _drawn(path)
    names = [each.name for each in path.devices]
    ends = dict.fromkeys(end for leg in legs for end in (leg.source, leg.target))
    services = [end for end in ends if end not in names] or list(path.relays)
    longest = max((len(_leg(leg)) for leg in legs), default=0) + len("↑ ")
    column = max(BOX_WIDTH + BETWEEN, 2 * _label_width(longest) + GAP)
    width = column * max(len(names), len(services), 2)
    spots = _Spots(
        _columns(names, width),
        {each.name: DEVICES_Y - len(each.behind) * (BOX_HEIGHT + GAP) for each in path.devices},
        _columns(services, width),
    )
    nodes = [
        *((_box(x, SERVICES_Y), name, "service") for name, x in spots.services.items()),
        *(node for device in path.devices for node in _stack(device, spots.devices[device.name])),
    ]
    taken = [box for box, _, _ in nodes]
    lines, labels = [], []
    for one, other in _pairs(names, services):
        both = _between(legs, one, other), _between(legs, other, one)
        if found := [leg for leg in both if leg is not None]:
            curve = spots.curve(one, other)
            arrows = zip(spots.arrows(other), both, strict=True)
            words = tuple(f"{arrow} {_leg(leg)}" for arrow, leg in arrows if leg is not None)
            labels.append((_label_box(curve, words, taken), words))
            taken.append(labels[-1][0])
            broken = "" if any(map(_arrived, found)) else " broken"
            lines.append((_shape(curve), f"{found[0].way}{broken}", f"{one} and {other}: {', '.join(words)}"))
    return Layout(width, DEVICES_Y + BOX_HEIGHT + MARGIN, tuple(nodes), tuple(lines), tuple(labels))


Point = tuple[float, float]
Curve = tuple[Point, Point, Point]
"""Start, control point and end."""


@dataclass(frozen=True)
class _Spots:
    """Middles of the columns of devices and of services, and where each device's column has its upper end."""

    devices: Mapping[str, float]
    tops: Mapping[str, float]
    services: Mapping[str, float]

    def curve(self, one: str, other: str) -> Curve:
        """Straight to a service; an arc above everything that devices are behind, from one to the other."""
        x, y = self.devices[one], self.tops[one]
        if other in self.services:
            start, end = (x, y), (self.services[other], float(SERVICES_Y + BOX_HEIGHT))
            return start, _middle(start, end), end
        start, end = (x + ASIDE, y), (self.devices[other] - ASIDE, self.tops[other])
        middle = _middle(start, end)
        between = [each for each in self.devices.values() if x < each < self.devices[other]]
        highest = min(self.tops.values()) - ARC * (1 + len(between))
        return start, (middle[0], highest), end

    def arrows(self, other: str) -> tuple[str, str]:
        """There and back."""
        return ("↑", "↓") if other in self.services else ("→", "←")


def _columns(names: Sequence[str], width: float) -> dict[str, float]:
    return {name: width * (2 * number + 1) / (2 * len(names)) for number, name in enumerate(names)}


def _stack(device: DeviceAt, x: float) -> Iterator[tuple[Box, str, str]]:
    """A device, and above it what it is behind."""
    network = f" ({device.network})" if device.network and device.network not in device.name else ""
    yield _box(x, DEVICES_Y), f"{device.name}{network}", "device"
    for number, router in enumerate(device.behind, start=1):
        yield _box(x, DEVICES_Y - number * (BOX_HEIGHT + GAP)), router, "router"


def _middle(one: Point, other: Point) -> Point:
    return (one[0] + other[0]) / 2, (one[1] + other[1]) / 2


def _pairs(names: Sequence[str], services: Sequence[str]) -> Iterator[tuple[str, str]]:
    yield from ((name, service) for name in names for service in services)
    yield from combinations(names, 2)


def _at(curve: Curve, share: float) -> Point:
    (x0, y0), (x1, y1), (x2, y2) = curve
    a, b, c = (1 - share) ** 2, 2 * share * (1 - share), share**2
    return a * x0 + b * x1 + c * x2, a * y0 + b * y1 + c * y2


def _shape(curve: Curve) -> str:
    (x0, y0), (x1, y1), (x2, y2) = curve
    return f"M{x0:.0f} {y0:.0f}Q{x1:.0f} {y1:.0f} {x2:.0f} {y2:.0f}"


def _label_box(curve: Curve, words: Sequence[str], taken: Iterable[Box]) -> Box:
    """The best place along the line that is free."""
    width, height = _label_width(max(map(len, words))), 4 + 15 * len(words)
    taken = list(taken)
    found = []
    for beside in BESIDE:
        for share in ALONG:
            x, y = _at(curve, share)
            found.append(Box(x - width / 2, y - height / 2 + beside, width, height))
    return next((box for box in found if not any(map(box.overlaps, taken))), found[0])


def _label_width(characters: int) -> float:
    return CHARACTER * characters + 8


def _between(legs: Iterable[LegSeen], source: str, target: str) -> LegSeen | None:
    return next((leg for leg in legs if (leg.source, leg.target) == (source, target)), None)


def _drawn(path: PathSeen) -> list[LegSeen]:
    """What is multicast chatter of a device goes nowhere."""
    return [leg for leg in path.legs if leg.way != "foreign" or leg.delivered or leg.target in path.by]


def _arrived(leg: LegSeen) -> bool:
    return _some(leg.delivered) or (leg.delivered is None and leg.way != DIRECT)


def _some(load: LoadSeen | None) -> bool:
    return load is not None and bool(load.packets or load.bytes or load.tcp_bytes)


def _leg(leg: LegSeen) -> str:
    """What arrived; where nobody saw it arrive, what was sent."""
    if leg.delivered is not None and leg.attempted is not None and leg.attempted != leg.delivered:
        return _part(leg.delivered, leg.attempted)
    if leg.delivered is None and leg.way == DIRECT:
        return f"none of {amount(leg.attempted)}"
    return amount(leg.delivered if leg.delivered is not None else leg.attempted)


def amount(load: LoadSeen | None) -> str:
    """For example `348 packets, 51.0 kB`."""
    if load is None:
        return "not counted"
    parts = [f"{load.packets:,} packets, {_size(load.bytes)}"] if load.packets or not load.tcp_bytes else []
    return " + ".join(parts + ([f"{_size(load.tcp_bytes)} TCP"] if load.tcp_bytes else []))


def _part(delivered: LoadSeen, attempted: LoadSeen) -> str:
    """For example `346 of 348 packets, 50.8 kB`."""
    # What was on its way when counting began arrives beside what was sent.
    if delivered.packets > attempted.packets or delivered.tcp_bytes > attempted.tcp_bytes:
        return f"{amount(delivered)} arrived, {amount(attempted)} sent"
    if attempted.packets and not attempted.tcp_bytes:
        return f"{delivered.packets:,} of {attempted.packets:,} packets, {_size(delivered.bytes)}"
    return f"{amount(delivered)} of {amount(attempted)}"


def _size(octets: int) -> str:
    for unit, size in (("MB", 1_000_000), ("kB", 1000)):
        if octets >= size:
            return f"{octets / size:.1f} {unit}"
    return f"{octets} bytes"


def _about(path: PathSeen) -> str:
    return ", ".join(filter(None, (path.subject, path.phase)))


def _box(x: float, y: float) -> Box:
    return Box(x - BOX_WIDTH / 2, y, BOX_WIDTH, BOX_HEIGHT)


def _node(box: Box, name: str, kind: str) -> str:
    most = int(BOX_WIDTH / CHARACTER) - 1
    shown = name if len(name) <= most else f"{name[: most - 1]}…"
    middle = box.x + box.width / 2
    return (
        f'<g class="node"><title>{_text(name)}</title>{_rectangle(box, kind)}'
        f'<text class="mid" x="{middle:.0f}" y="{box.y + 21:.0f}">{_text(shown)}</text></g>'
    )


def _label(box: Box, words: Sequence[str]) -> str:
    middle = box.x + box.width / 2
    lines = (
        f'<text class="mid" x="{middle:.0f}" y="{box.y + 14 + 15 * number:.0f}">{_text(line)}</text>'
        for number, line in enumerate(words)
    )
    return f"{_rectangle(box, 'label')}{''.join(lines)}"


def _rectangle(box: Box, kind: str) -> str:
    at = f'x="{box.x:.0f}" y="{box.y:.0f}" width="{box.width:.0f}" height="{box.height:.0f}"'
    return f'<rect class="{kind}" {at} rx="5"/>'


def _text(words: str) -> str:
    return escape(clean(words), quote=False)
