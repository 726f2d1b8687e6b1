"""Pictures of released results: survival curves with the numbers at risk, and coefficients as a forest plot.

Input is what `Analysis.result` gives, so a picture shows nothing that was not released. Output is bytes
of a PNG or SVG file, the same for the same result and library version. matplotlib is imported only when
something is drawn.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from analytics.tails import Z_95
from consilium_errors import Misuse

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Format = Literal["png", "svg"]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
"""Okabe and Ito's palette, told apart by colour-blind readers; line styles differ too."""

_LINES = ("-", "--", "-.", ":")
_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#444444",
    "axes.labelcolor": "#222222",
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "svg.hashsalt": "consilium",
    "svg.fonttype": "none",
}
_UNITS = {"d": "days", "wk": "weeks", "mo": "months", "a": "years", "h": "hours"}


def survival_plot(
    result: Mapping[str, Any], format: Format = "png", title: str = "", note: str = "", dpi: int = 160
) -> bytes:
    """Kaplan-Meier curves with 95 % bands, medians and the numbers at risk below.

    A curve ends where its last, open cell begins. The number at risk at a tick is the one at the last
    released time up to it, and blank after the curve's end.

    Args:
        result: of a `kaplan_meier` analysis.
        note: a line beneath, such as the log-rank test.

    Raises:
        Misuse: ``plots.kind`` for a result of another kind.
    """
    _expect(result, "kaplan_meier")
    curves = result["curves"]
    with _drawing(7.2, 4.4 + 0.24 * len(curves)) as figure:
        height = 1.1 + 0.6 * len(curves)
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[11, height])
        end = max(cell["from"] for curve in curves for cell in curve["cells"])
        for index, curve in enumerate(curves):
            _curve(upper, curve, index, result["unit"])
        _survival_axes(upper, float(end), title)
        ticks = _ticks(float(end), float(result["grid"]))
        upper.set_xticks(ticks)
        _at_risk(lower, curves, ticks)
        origin = _UNITS.get(result["unit"], result["unit"])
        lower.set_xlabel(f"{str(result['time']).replace('_', ' ').capitalize()} ({origin})")
        figure.text(
            0.995, 0.008, _released(result, note), ha="right", va="bottom", fontsize=7, color="#666666"
        )
        figure.align_ylabels()
        return _bytes(figure, format, dpi)


def forest_plot(result: Mapping[str, Any], format: Format = "png", title: str = "", dpi: int = 160) -> bytes:
    """Coefficients with 95 % intervals, intercept left out; one row per term, in the order of the result.

    Args:
        result: of a `logistic` analysis.

    Raises:
        Misuse: ``plots.kind``; ``plots.empty`` if there is no coefficient to show.
    """
    _expect(result, "logistic")
    terms = [term for term in result["terms"] if term["term"] != "(intercept)"]
    if not terms:
        raise Misuse(
            "plots.empty", "the result holds no coefficients", "a singular model has none; see its status"
        )
    with _drawing(6.4, 1.3 + 0.235 * len(terms)) as figure:
        axes = figure.subplots()
        for row, term in enumerate(terms):
            centre, reach = term["estimate"], Z_95 * term["se"]
            sure = abs(centre) > reach
            colour = COLOURS[0] if sure else "#7A7A7A"
            axes.plot(
                [centre - reach, centre + reach], [row, row], color=colour, lw=1.5, solid_capstyle="butt"
            )
            axes.plot(
                centre, row, "s" if sure else "o", color=colour, ms=4.5, mfc=colour if sure else "white"
            )
        axes.axvline(0, color="#444444", lw=0.8, zorder=0)
        axes.set_yticks(range(len(terms)), [str(term["term"]).replace("_", " ") for term in terms])
        axes.set_ylim(len(terms) - 0.4, -0.6)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x", color="#E6E6E6", lw=0.6)
        axes.set_axisbelow(True)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(f"log odds ratio per {terms[0]['per']}, with 95 % interval")
        if title:
            axes.set_title(title, loc="left", fontsize=11, fontweight="bold")
        figure.text(0.995, 0.004, _released(result, ""), ha="right", va="bottom", fontsize=7, color="#666666")
        return _bytes(figure, format, dpi)


def _expect(result: Mapping[str, Any], kind: str) -> None:
    if result.get("kind") != kind:
        raise Misuse("plots.kind", f"expected a result of kind {kind}, found {result.get('kind')}")


def _released(result: Mapping[str, Any], note: str) -> str:
    parts = [note] if note else []
    parts.append(f"n = {result['n']}")
    if "min_cell" in result:
        unit = _UNITS.get(result["unit"], result["unit"])
        parts.append(
            f"{result['grid']:g}-{unit.removesuffix('s')} grid, cells of ≥ {result['min_cell']} exits"
        )
        parts.append("at risk: at the last released time")
    exact = result.get("mode") == "exact"
    parts.append("exact release" if exact else f"(ε, δ) = ({result.get('epsilon')}, {result.get('delta')})")
    return "  ·  ".join(parts)


def _curve(axes: Axes, curve: Mapping[str, Any], index: int, unit: str) -> None:
    colour, line = COLOURS[index % len(COLOURS)], _LINES[index % len(_LINES)]
    closed = curve["cells"][:-1]
    times = [0.0, *(cell["to"] for cell in closed)]
    values = {key: [1.0, *(cell[key] for cell in closed)] for key in ("survival", "lower", "upper")}
    axes.fill_between(
        times, values["lower"], values["upper"], step="post", color=colour, alpha=0.16, linewidth=0
    )
    events = f"{curve['deaths']}/{curve['n']} events"
    label = f"{curve['group']}  ({events}, median {_interval(curve['median'], unit)})"
    axes.step(
        times, values["survival"], where="post", color=colour, linestyle=line, linewidth=1.9, label=label
    )
    # A dot for the end: what follows is not released.
    axes.plot(times[-1], values["survival"][-1], "o", color=colour, markersize=4)


def _interval(median: Mapping[str, Any], unit: str) -> str:
    if median["to"] is None:
        return f"above {median['from']:g} {unit}"
    return f"{median['from']:g}–{median['to']:g} {unit}"


def _survival_axes(axes: Axes, end: float, title: str) -> None:
    axes.set_ylim(0, 1.02)
    axes.set_xlim(0, end * 1.03)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1.0], ["0", "25", "50", "75", "100"])
    axes.axhline(0.5, color="#BBBBBB", linewidth=0.7, linestyle=(0, (4, 3)), zorder=0)
    axes.set_ylabel("Survival (%)")
    axes.tick_params(labelbottom=True)
    axes.legend(frameon=False, loc="upper right", handlelength=2.6)
    if title:
        axes.set_title(title, loc="left", fontsize=11.5, fontweight="bold")


def _ticks(end: float, grid: float) -> list[float]:
    """At most eight ticks, whole multiples of the grid, from 0."""
    for multiple in (1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 24, 30, 40, 50, 60, 100):
        if end / (multiple * grid) <= 8:
            break
    step = multiple * grid
    return [step * k for k in range(int(end / step + 1e-9) + 1)]


def _at_risk(axes: Axes, curves: Sequence[Mapping[str, Any]], ticks: Sequence[float]) -> None:
    axes.set_ylim(len(curves) - 0.4, -0.95)
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0, labelbottom=False, pad=12)
    axes.set_yticks(range(len(curves)), [curve["group"] for curve in curves])
    for index, label in enumerate(axes.get_yticklabels()):
        label.set_color(COLOURS[index % len(COLOURS)])
    axes.text(
        0.0, -0.85, "Number at risk", transform=axes.get_yaxis_transform(), fontsize=8.5, fontweight="bold"
    )
    for row, curve in enumerate(curves):
        for tick in ticks:
            count = at_risk(curve, tick)
            if count is not None:
                axes.text(tick, row, str(count), ha="center", va="center")


def at_risk(curve: Mapping[str, Any], time: float) -> int | None:
    """Number at risk at the last released time up to ``time``; None beyond the curve's end."""
    if time > curve["cells"][-1]["from"]:
        return None
    starts = [cell for cell in curve["cells"] if cell["from"] <= time]
    return int(starts[-1]["at_risk"])


@contextmanager
def _drawing(width: float, height: float) -> Iterator[Figure]:
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    with mpl.rc_context(_STYLE):
        # The rectangle leaves room for the line of small print at the foot.
        foot = 0.19 / height
        layout = ConstrainedLayoutEngine(rect=(0, foot, 1, 1 - foot))
        figure = Figure(figsize=(width, height), layout=layout)
        FigureCanvasAgg(figure)
        yield figure


def _bytes(figure: Figure, format: Format, dpi: int) -> bytes:
    if format not in ("png", "svg"):
        raise Misuse("plots.format", "a picture is a png or an svg")
    out = io.BytesIO()
    # Without date and version, equal results give equal bytes.
    metadata: dict[str, Any] = {"Software": None} if format == "png" else {"Date": None, "Creator": None}
    figure.savefig(out, format=format, dpi=dpi, metadata=metadata, facecolor="white")
    return out.getvalue()
