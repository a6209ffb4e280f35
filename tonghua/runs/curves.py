"""Charts of a run: thinned and smoothed curves, as SVG shapes for the report and as the picture loss.png.

(step, value), ... ──thin, smooth──► Series, ... ──draw──► Chart      lines, dots and ticks in SVG coordinates
RunRecord ──write_loss_plot──► loss.png                               the same by matplotlib
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from ..system.files import write_atomic
from ..text import Language, Text
from .record import RunRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.font_manager import FontProperties

MOST_POINTS = 2000

STRIPS = 100
"""Number of vertical strips of a chart; each shows its values in a tooltip."""

LOG_RATIO = 10.0
"""A loss gets a logarithmic scale if its largest value is more than this many times the smallest."""

FLAT = 1e-4
"""Values that differ by at most this share of the largest are drawn as a level line."""

NEIGHBOURS = 40
"""A smoothed value is a mean over 1/40 of the run before it and 1/40 after it."""

CHINESE_FONTS = (
    *("Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "Noto Sans CJK JP", "Microsoft YaHei", "SimHei"),
    *("PingFang SC", "Hiragino Sans GB", "Heiti SC", "STHeiti", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "SimSun"),
)

Points = Sequence[tuple[int, float | None]]
"""(step, value) pairs; the value is None if there is none."""

WORDS = {
    "loss": Text("损失", "loss"),
    "train": Text("训练损失", "training loss"),
    "smooth": Text("训练损失（平滑）", "training loss, smoothed"),
    "heldout": Text("验证损失", "held-out loss"),
    "rate": Text("学习率", "learning rate"),
    "step": Text("步", "step"),
    "nothing": Text("还没有训练过一步", "no step has been trained yet"),
}


def evenly(count: int, most: int) -> list[int]:
    """Return at most `most` (at least 2) of the indices below `count`, evenly spaced, with the first and the last."""
    if count <= most:
        return list(range(count))
    return sorted({round(i * (count - 1) / (most - 1)) for i in range(most)})


def thin(points: Points, most: int = MOST_POINTS) -> Points:
    """Return at most `most` points, evenly spaced, and always the first, last, lowest and highest."""
    if len(points) <= most:
        return points
    values = {place: value for place, (_, value) in enumerate(points) if value is not None}
    extremes = {min(values, key=values.__getitem__), max(values, key=values.__getitem__)} if values else set()
    return [points[place] for place in sorted({*evenly(len(points), most - 2), *extremes})]


def smooth(points: Points) -> Points:
    """Return the points with a moving average as value. Missing values are skipped, and filled from neighbours."""
    reach = max(1, len(points) // NEIGHBOURS)
    sums, counts = [0.0], [0]
    for _, value in points:
        sums.append(sums[-1] + (value or 0.0))
        counts.append(counts[-1] + (value is not None))
    smoothed: list[tuple[int, float | None]] = []
    for place, (step, _) in enumerate(points):
        start, end = max(0, place - reach), min(len(points), place + reach + 1)
        count = counts[end] - counts[start]
        smoothed.append((step, (sums[end] - sums[start]) / count if count else None))
    return smoothed


def reads_better_logarithmic(values: Sequence[float]) -> bool:
    """Return True if all values are positive and span more than a factor of `LOG_RATIO`."""
    return bool(values) and 0 < LOG_RATIO * min(values) < max(values)


@dataclass(frozen=True, slots=True)
class Series:
    """One curve; `style` is its CSS class in the report."""

    name: Text
    style: str
    points: Points
    dots: bool = False

    @property
    def values(self) -> list[float]:
        """The values without missing ones."""
        return [value for _, value in self.points if value is not None]


@dataclass(frozen=True, slots=True)
class Chart:
    """Curves as shapes, in the pixel coordinates of an SVG of this size.

       top ┌──────────┐        lines    style, and the points of a polyline
           │  ╲__/╲__ │        dots     style, and the centre of a circle
    bottom └──────────┘        strips   left edge, width, and the text of the tooltip
          left      right      marks    x of each unusual event
    """

    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    lines: tuple[tuple[str, str], ...]
    dots: tuple[tuple[str, float, float], ...]
    strips: tuple[tuple[float, float, str], ...]
    marks: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class _Axis:
    """Maps values to pixels: `low` to `start`, `high` to `end`. Linear ticks have a distance of at least `apart`."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False
    apart: float = 0.0

    def place(self, value: float) -> float:
        low, high, at = (math.log(each) if self.logarithmic else each for each in (self.low, self.high, value))
        return round(self.start + (at - low) / (high - low) * (self.end - self.start), 1)

    def ticks(self) -> tuple[tuple[float, str], ...]:
        values = _decades(self.low, self.high) if self.logarithmic else _round(self.low, self.high, self.apart)
        return tuple((self.place(value), f"{value:.6g}") for value in values)


def draw(series: Sequence[Series], width: int, height: int, from_zero: bool, marks: Sequence[int] = ()) -> Chart | None:
    """Return the curves in one chart of this size in pixels, or None if they have no value.

    The value axis starts at zero with `from_zero`, else just below the lowest value. `marks` are steps.
    """
    values = [value for each in series for value in each.values]
    if not values:
        return None
    left, right, top, bottom = 66, width - 20, 8, height - 28
    steps = [step for each in series for step, _ in each.points]
    x = _Axis(min(steps), max(max(steps), min(steps) + 1), left, right, apart=1)
    y = _value_axis(values, bottom, top, from_zero)
    return Chart(
        *(width, height, left, right, top, bottom),
        x_ticks=x.ticks(),
        y_ticks=y.ticks(),
        lines=tuple((each.style, corners) for each in series for corners in _lines(each.points, x, y)),
        dots=tuple(
            (each.style, x.place(step), y.place(value))
            for each in series
            if each.dots
            for step, value in each.points
            if value is not None
        ),
        strips=tuple(_strips(series, x)),
        marks=tuple(x.place(step) for step in marks if x.low <= step <= x.high),
    )


def _value_axis(values: Sequence[float], bottom: float, top: float, from_zero: bool) -> _Axis:
    low, high = min(values), max(values)
    if from_zero:
        low = min(low, 0.0)
    elif reads_better_logarithmic(values):
        return _Axis(low / 1.1, high * 1.1, bottom, top, logarithmic=True)
    largest = max(abs(low), abs(high))
    room = 0.05 * (high - low if high - low > FLAT * largest else largest) or 1.0
    return _Axis(low if from_zero else low - room, high + room, bottom, top)


def _round(low: float, high: float, apart: float) -> list[float]:
    """Return about five round numbers from low to high, at multiples of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    distance = max(apart, power * next(each for each in (1, 2, 5, 10) if each * power >= rough * 0.999))
    return [i * distance for i in range(math.ceil(low / distance), math.floor(high / distance) + 1)]


def _decades(low: float, high: float) -> list[float]:
    """Return at most eight round numbers from low to high with about equal ratios."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    values = [factor * 10.0**exponent for exponent in exponents for factor in (1, 2, 5)]
    inside = [value for value in values if low <= value <= high]
    return [inside[place] for place in evenly(len(inside), 8)]


def _lines(points: Points, x: _Axis, y: _Axis) -> Iterator[str]:
    """Yield the polyline points of each stretch without a gap; a single point becomes a line to itself."""
    for missing, stretch in groupby(points, key=lambda point: point[1] is None):
        corners = [f"{x.place(step):g},{y.place(value):g}" for step, value in stretch if value is not None]
        if not missing:
            yield " ".join(corners * 2 if len(corners) == 1 else corners)


def _strips(series: Sequence[Series], x: _Axis) -> Iterator[tuple[float, float, str]]:
    """Yield vertical strips side by side, each with the last point of every curve in it."""
    width = (x.end - x.start) / STRIPS
    told: dict[int, dict[int, str]] = {}
    for number, each in enumerate(series):
        for step, value in each.points:
            if value is not None:
                strip = min(int((x.place(step) - x.start) / width), STRIPS - 1)
                line = f"{step} · {each.name.zh} {each.name.en} {value:.4g}"
                told.setdefault(strip, {})[number] = line
    for strip, lines in sorted(told.items()):
        yield round(x.start + strip * width, 1), round(width, 1), "\n".join(lines.values())


def write_loss_plot(record: RunRecord, path: Path, language: Language = "zh") -> None:
    """Write a PNG with the losses above the learning rate. Labels are English if there is no Chinese font.

    Raises ResourceError if the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties, fontManager

    there = set(fontManager.get_font_names())
    family = next((name for name in CHINESE_FONTS if name in there), None) if language == "zh" else None
    font = FontProperties(family=family)
    words = {key: word.to("zh" if family else "en") for key, word in WORDS.items()}
    figure = Figure(figsize=(8, 5.5), dpi=120)
    canvas = FigureCanvasAgg(figure)
    # Fixed margins: a layout that matplotlib computes draws everything twice.
    margins = {"left": 0.125, "right": 0.98, "bottom": 0.09, "top": 0.98, "hspace": 0.08}
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1), gridspec_kw=margins)
    _plot_losses(record, upper, words, font)
    rates = thin([(step.step, step.learning_rate) for step in record.steps])
    lower.plot(*_columns(rates), color="#777777", marker="." if len(rates) == 1 else "")
    lower.set_ylabel(words["rate"], fontproperties=font)
    lower.set_xlabel(words["step"], fontproperties=font)
    for axes in (upper, lower):
        axes.grid(alpha=0.3)
    picture = BytesIO()
    canvas.print_figure(picture, format="png")
    write_atomic(path, picture.getvalue())


def _plot_losses(record: RunRecord, axes: "Axes", words: dict[str, str], font: "FontProperties") -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

    losses = [(step.step, step.loss) for step in record.steps]
    heldout = [(each.step, each.loss) for each in record.heldout]
    axes.set_ylabel(words["loss"], fontproperties=font)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if not losses and not heldout:
        axes.text(0.5, 0.5, words["nothing"], transform=axes.transAxes, ha="center", fontproperties=font)
        return
    axes.plot(*_columns(thin(losses)), color="#3b7dd8", alpha=0.35, linewidth=0.8, marker=".", markersize=2)
    axes.plot(*_columns(thin(smooth(losses))), color="#3b7dd8", linewidth=1.8, label=words["smooth"])
    if heldout:
        axes.plot(*_columns(thin(heldout)), color="#d8763b", marker="o", markersize=4, label=words["heldout"])
    if reads_better_logarithmic([value for _, value in (*losses, *heldout) if value is not None]):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.legend(prop=font, frameon=False)


def _columns(points: Points) -> tuple[list[int], list[float]]:
    """Return steps and values; a missing value becomes nan, which breaks the line."""
    return [step for step, _ in points], [math.nan if value is None else value for _, value in points]
