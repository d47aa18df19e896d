"""The plots of the site, each a few lines of SVG that take their colours from the page.

Numbers are rounded to a tenth of a pixel, so that the same run gives the same bytes; names go through `markupsafe`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from markupsafe import Markup

from mmbench.board.figures import count, plain, quantity, score, signed

WIDE, HIGH, EDGE = 180, 20, 6
PLOT = (460, 260)
MARGIN = (52, 14, 14, 34)  # left, top, right, bottom


@dataclass(frozen=True)
class Scale:
    """From values to pixels; values beyond either end stay at it."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, value = (math.log(v) if self.log else v for v in (self.low, self.high, self._within(value)))
        share = (value - low) / (high - low) if high > low else 0.5
        return round(self.start + share * (self.end - self.start), 1)

    def _within(self, value: float) -> float:
        return min(max(value, self.low), self.high)

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high

    def ticks(self, wanted: int = 4) -> list[float]:
        """Round values between the ends."""
        if self.high <= self.low:
            return [self.low]
        if self.log:
            powers = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            near = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
            inside = [value for value in near if self.holds(value)]
            tens = [10.0**power for power in powers if self.holds(10.0**power)]
            return tens if len(tens) >= 3 else inside or [self.low, self.high]
        rough = (self.high - self.low) / wanted
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [place * step for place in range(first, last + 1)]


def domain(lows: Sequence[float], highs: Sequence[float], *, higher: bool = True) -> tuple[float, float]:
    """A range that shows what lies together and leaves out what lies far behind, such as a majority class.

    It reaches from the best behind the worst quarter by once the range of the others, and no further than the data.
    """
    if not higher:
        low, high = domain([-v for v in highs], [-v for v in lows])
        return -high, -low
    ordered = sorted(lows)
    quarter = ordered[len(ordered) // 4]
    top = max(highs)
    low = max(ordered[0], quarter - (top - quarter))
    pad = 0.04 * (top - low) or 0.01
    return low - pad, top + pad


def finite(*values: float | None) -> bool:
    return all(value is not None and math.isfinite(value) for value in values)


def whisker(
    mean: float, low: float | None, high: float | None, scale: Scale, *, zero: bool = False, shown: int = 0
) -> Markup:
    """A dot for the mean, a line for the interval; `zero` draws one at 0; `shown`, 1 or -1, colours what lies above or
    below it.

    Its label says the interval only: the mean, and the interval as figures, stand beside it.
    """
    show = signed if zero else score
    said, kind, parts = "", {1: " more", -1: " less"}.get(shown, ""), Markup()
    if zero:
        parts += _line(scale(0), 2, scale(0), HIGH - 2, "zero")
    if finite(low, high) and low is not None and high is not None:
        among = max(abs(mean), abs(low), abs(high))
        said = f"95% interval {show(low, among=among)} to {show(high, among=among)}"
        parts += _line(scale(low), HIGH / 2, scale(high), HIGH / 2, f"interval{kind}")
    if scale.holds(mean):
        parts += Markup('<circle class="dot{}" cx="{}" cy="{}" r="3.2"/>').format(kind, scale(mean), HIGH / 2)
    else:
        parts += _arrow(scale(mean), HIGH / 2, leftward=mean < scale.low)
    return _svg(WIDE, HIGH, parts, css="whisker", label=said)


def axis(scale: Scale, *, sign: bool = False) -> Markup:
    """The figures above a column of whiskers."""
    ticks = scale.ticks(3)
    show, among = signed if sign else score, max(map(abs, ticks), default=0.0)
    parts = Markup().join(
        _text(scale(tick), 11, show(tick, among=among) if tick else "0", anchor=_anchored(scale(tick), WIDE))
        for tick in ticks
    )
    return _svg(WIDE, 14, parts, css="axis", label="")


@dataclass(frozen=True)
class Mark:
    """A contender in a scatter plot."""

    name: str
    score: float
    cost: float
    front: bool


def scatter(marks: Sequence[Mark], *, metric: str, cost: str, higher: bool) -> Markup:
    """Score against cost; the front is joined and named, all others are named when pointed at."""
    width, height = PLOT
    left, top, right, bottom = MARGIN
    costs = [mark.cost for mark in marks]
    log = min(costs) > 0 and max(costs) / min(costs) > 8
    pad = (max(costs) / min(costs)) ** 0.04 if log else 0.04 * (max(costs) - min(costs)) or 0.01
    ends = (min(costs) / pad, max(costs) * pad) if log else (min(costs) - pad, max(costs) + pad)
    scores = [mark.score for mark in marks]
    x = Scale(*ends, left + 8, width - right, log)
    y = Scale(*domain(scores, scores, higher=higher), height - bottom, top + 6)
    parts = _frame(x, y, xlabel=cost, ylabel=metric)
    front = [mark for mark in marks if mark.front]
    path = [(x(mark.cost), y(mark.score)) for mark in front]
    if len(path) > 1:
        steps = f"M{path[0][0]} {path[0][1]}" + "".join(f"H{px}V{py}" for px, py in path[1:])
        parts += Markup('<path class="front" d="{}"/>').format(steps)
    for mark in sorted(marks, key=lambda mark: mark.front):
        parts += _mark(mark, x, y)
    said = f"{metric} against {cost}; on the front: {', '.join(mark.name for mark in front)}"
    return _svg(width, height, parts + _labels(front, marks, x, y), css="plot", label=said)


def _mark(mark: Mark, x: Scale, y: Scale) -> Markup:
    said = f"{mark.name}: {score(mark.score)} at {amount(mark.cost)}"
    css = "on" if mark.front else "off"
    px, py = x(mark.cost), y(mark.score)
    title = Markup("<title>{}</title>").format(plain(said))
    if not y.holds(mark.score):
        way = "-3.5 -5h7z" if mark.score < y.low else "-3.5 5h7z"
        return Markup('<path class="beyond" d="M{} {}l{}">{}</path>').format(px, py, way, title)
    return Markup('<circle class="{}" cx="{}" cy="{}" r="{}">{}</circle>').format(
        css, px, py, 3.6 if mark.front else 3, title
    )


Box: TypeAlias = tuple[float, float, float, float]
"""Left, top, right, bottom."""


def _labels(front: Sequence[Mark], marks: Sequence[Mark], x: Scale, y: Scale) -> Markup:
    """Names beside the points of the front, each where it covers least: right or left of the point, above or below."""
    taken: list[Box] = [(x(m.cost) - 4, y(m.score) - 4, x(m.cost) + 4, y(m.score) + 4) for m in marks]
    parts = Markup()
    for mark in front:
        if not y.holds(mark.score):
            continue
        name = _cut(mark.name)
        px, py, long = x(mark.cost), y(mark.score), 6.0 * len(name)
        places = [
            (left, top, left + long, top + 11)
            for top in (py - 15, py + 5, py - 27, py + 17)
            for left in (px + 6, px - 6 - long)
        ]
        inside = [box for box in places if box[0] >= x.start and box[2] <= x.end + 14] or places[:1]
        best = min(inside, key=lambda box: sum(_overlap(box, other) for other in taken))
        taken.append(best)
        parts += _text(best[0], best[1] + 9, name, css="name")
    return parts


def _overlap(one: Box, other: Box) -> float:
    wide = min(one[2], other[2]) - max(one[0], other[0])
    high = min(one[3], other[3]) - max(one[1], other[1])
    return wide * high if wide > 0 and high > 0 else 0.0


LINE = 18  # pixels from one contender of a diagram to the next
LANE = 8


def places(averages: Sequence[tuple[str, float]], groups: Sequence[Sequence[str]], *, critical: float) -> Markup:
    """A critical-difference diagram: a line a contender, the best first, and its average place.

    The bars at the right join those that can't be told apart; the one on top is as long as the critical difference.
    """
    top, left, right = 40, 158, PLOT[0] - 4
    x = Scale(1, max([*(place for _, place in averages), 1 + critical]), left, right)
    lane_of = _lanes([(names[0], names[-1]) for names in groups], [name for name, _ in averages])
    width, height = PLOT[0] + LANE * len(set(lane_of.values())), top + LINE * len(averages)
    parts = Markup()
    for tick in x.ticks(6):
        parts += _line(x(tick), 18, x(tick), height, "grid") + _text(x(tick), 11, f"{tick:g}", anchor="middle")
    parts += _line(x(1), 24, x(1 + critical), 24, "interval") + _text(2, 28, "critical difference", css="label")
    row = {name: top + LINE * line + LINE / 2 for line, (name, _) in enumerate(averages)}
    for name, place in averages:
        title = Markup("<title>{}: {}</title>").format(plain(name), f"{place:.2f}")
        dot = Markup('<circle class="on" cx="{}" cy="{}" r="3.2">{}</circle>')
        parts += _text(2, row[name] + 4, _cut(name), css="name") + dot.format(x(place), row[name], title)
    for (first, last), lane in lane_of.items():
        at = right + LANE * (lane + 1)
        parts += _line(at, row[first] - 5, at, row[last] + 5, "bar")
    return _svg(width, height, parts, css="plot", label="average places, and who can't be told apart")


def _lanes(bars: Sequence[tuple[str, str]], order: Sequence[str]) -> dict[tuple[str, str], int]:
    """Which column each bar stands in, so that none stands on another."""
    ends: list[int] = []
    found = {}
    for first, last in bars:
        free = next((lane for lane, end in enumerate(ends) if end < order.index(first)), len(ends))
        ends[free : free + 1] = [order.index(last)]
        found[first, last] = free
    return found


def _cut(name: str) -> str:
    name = plain(name)
    return name if len(name) <= 24 else f"{name[:23]}…"


def lines(curves: Sequence[tuple[str, Sequence[tuple[float, float]]]], *, xlabel: str, ylabel: str) -> Markup:
    """Curves over a common x; the first one stands out."""
    width, height = PLOT[0], 180
    left, top, right, bottom = MARGIN
    points = [point for _, curve in curves for point in curve]
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    pad = 0.06 * (max(ys) - min(ys)) or 0.01
    x = Scale(min(xs), max(xs), left + 8, width - right - 6)
    y = Scale(min(ys) - pad, max(ys) + pad, height - bottom, top + 4)
    parts = _frame(x, y, xlabel=xlabel, ylabel=ylabel)
    for place, (name, curve) in reversed(list(enumerate(curves))):
        found = " ".join(f"{x(a)},{y(b)}" for a, b in curve)
        css = "best" if place == 0 else "other"
        title = Markup("<title>{}</title>").format(plain(name))
        parts += Markup('<polyline class="{}" points="{}">{}</polyline>').format(css, found, title)
    return _svg(width, height, parts, css="plot", label=f"{ylabel} by {xlabel}")


@dataclass(frozen=True)
class Curve:
    """A contender's scores by the number of train rows, and the intervals that they have."""

    name: str
    points: Sequence[tuple[float, float]]
    intervals: Sequence[tuple[float, float, float]]
    """(size, low, high)"""
    single: bool
    """Whether it sees one modality: drawn by dashes."""


def learning(curves: Sequence[Curve], sizes: Sequence[float], *, ylabel: str) -> Markup:
    """Scores by train rows, on a scale of factors; the first curve stands out, with its intervals. It and the first of
    a single modality bear their names, others when they are pointed at."""
    width, height = PLOT
    left, top, right, bottom = MARGIN
    values = [value for curve in curves for _, value in curve.points]
    values += [end for _, low, high in curves[0].intervals for end in (low, high)]
    pad = 0.06 * (max(values) - min(values)) or 0.01
    x = Scale(min(sizes), max(sizes), left + 8, width - right - 6, log=True)
    y = Scale(min(values) - pad, max(values) + pad, height - bottom, top + 4)
    parts = _frame(x, y, xlabel="train rows", ylabel=ylabel, at=sizes)
    for place, curve in reversed(list(enumerate(curves))):
        css = ("best" if place == 0 else "other") + (" single" if curve.single else "")
        title = Markup("<title>{}</title>").format(plain(curve.name))
        found = " ".join(f"{x(a)},{y(b)}" for a, b in curve.points)
        parts += Markup('<polyline class="{}" points="{}">{}</polyline>').format(css, found, title)
        for size, low, high in curve.intervals if place == 0 else ():
            parts += _line(x(size), y(low), x(size), y(high), "interval")
        for size, value in curve.points:
            said = Markup("<title>{}</title>").format(f"{plain(curve.name)}: {score(value)} with {size:,} rows")
            dot = Markup('<circle class="{}" cx="{}" cy="{}" r="{}">{}</circle>')
            parts += dot.format("on" if place == 0 else "off", x(size), y(value), 3.2 if place == 0 else 2.4, said)
    named = [curves[0], *[curve for curve in curves[1:] if curve.single][:1]]
    for curve in named:
        size, value = curve.points[-1]
        parts += _text(x(size), y(value) - 8, _cut(curve.name), anchor="end", css="name")
    return _svg(width, height, parts, css="plot", label=f"{ylabel} by train rows; {curves[0].name} stands out")


@dataclass(frozen=True)
class Tried:
    """A trial in a plot: its validation score, None if it failed, and whether it was pruned."""

    number: int
    score: float | None
    pruned: bool


def trials(tried: Sequence[Tried], *, metric: str, higher: bool) -> Markup:
    """The validation score of each trial in order, and the best so far; a failed one is a cross at the bottom."""
    width, height = PLOT[0], 180
    left, top, right, bottom = MARGIN
    known = [trial.score for trial in tried if trial.score is not None]
    x = Scale(0, max(1, len(tried) - 1), left + 8, width - right - 6)
    y = Scale(*domain(known, known, higher=higher), height - bottom, top + 4)
    best, path, marks = None, "", Markup()
    for place, trial in enumerate(tried):
        value = trial.score
        leads = value is not None and not trial.pruned and (best is None or (value > best if higher else value < best))
        best = value if leads else best
        if best is not None:
            path += f"H{x(place)}V{y(best)}" if path else f"M{x(place)} {y(best)}"
        said = "failed" if value is None else f"{score(value)}{', pruned' if trial.pruned else ''}"
        title = Markup("<title>{}</title>").format(f"trial {trial.number}: {said}")
        if value is None:
            at = round(x(place) - 3, 1), height - bottom - 8
            marks += Markup('<path class="cross" d="M{} {}l6 6m0 -6l-6 6">{}</path>').format(*at, title)
        else:
            css = "on" if leads else "pruned" if trial.pruned else "off"
            dot = Markup('<circle class="{}" cx="{}" cy="{}" r="3">{}</circle>')
            marks += dot.format(css, x(place), y(value), title)
    line = Markup('<path class="front" d="{}"/>').format(path) if path else Markup()
    frame = _frame(x, y, xlabel="trial", ylabel=f"{metric} on validation")
    said = f"{metric} on validation of {len(tried)} trials"
    return _svg(width, height, frame + line + marks, css="plot", label=said)


def amount(value: float) -> str:
    return count(value) if abs(value) >= 1000 else quantity(value)


def _frame(x: Scale, y: Scale, *, xlabel: str, ylabel: str, at: Sequence[float] = ()) -> Markup:
    """Hair lines at the ticks of y, figures at both axes, and what they count; at: the ticks of x, if given."""
    parts = Markup()
    ticks = y.ticks()
    among = max(map(abs, ticks), default=0.0)
    for tick in ticks:
        parts += _line(x.start - 8, y(tick), x.end, y(tick), "grid")
        parts += _text(x.start - 14, y(tick) + 3.5, score(tick, among=among) if tick else "0", anchor="end")
    whole = x.high - x.low >= 2 and not x.log
    for tick in at or x.ticks(5):
        show: Callable[[float], str] = (lambda v: f"{v:g}") if whole or 0 <= x.low <= x.high <= 1 else amount
        show = (lambda v: f"{v:,}") if at else show
        parts += _text(x(tick), y.start + 16, show(tick), anchor="middle")
    parts += _text(x.end, y.start + 31, xlabel, anchor="end", css="label")
    return parts + _text(2, 10, ylabel, css="label")


def _anchored(place: float, width: float) -> str:
    return "start" if place < 14 else "end" if place > width - 14 else "middle"


def _line(x1: float, y1: float, x2: float, y2: float, css: str) -> Markup:
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(css, x1, y1, x2, y2)


def _text(x: float, y: float, text: str, *, anchor: str = "start", css: str = "") -> Markup:
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(
        css, round(x, 1), round(y, 1), anchor, plain(text)
    )


def _arrow(x: float, y: float, *, leftward: bool) -> Markup:
    """The value lies beyond this end."""
    way = "5 -3.5v7z" if leftward else "-5 -3.5v7z"
    return Markup('<path class="beyond" d="M{} {}l{}"/>').format(x, y, way)


def _svg(width: int, height: int, parts: Markup, *, css: str, label: str) -> Markup:
    said = Markup('role="img" aria-label="{}"').format(plain(label)) if label else Markup('aria-hidden="true"')
    return Markup('<svg class="{}" viewBox="0 0 {} {}" width="{}" height="{}" {}>{}</svg>').format(
        css, width, height, width, height, said, parts
    )
