"""Time and bytes against parameters and hospitals, as pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.secure_sum import SIZES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: name → value and unit
Numbers = Mapping[str, Sequence[Any]]

_WHO = {"Consilium": "#1b6ca8", "SecAgg+ (Flower)": "#c8553d", "CKKS (NVFlare)": "#6a994e"}


def parameters(found: Numbers, file: Path) -> None:
    """One hospital's upload."""
    time = {
        "Consilium": "hospital_wall_s",
        "SecAgg+ (Flower)": "secaggplus_wall_s",
        "CKKS (NVFlare)": "nvflare_ckks_wall_s",
    }
    size = {
        "Consilium": "bytes_up_over_f32",
        "SecAgg+ (Flower)": "secaggplus_bytes_up_over_f32",
        "CKKS (NVFlare)": "nvflare_ckks_bytes_up_over_f32",
    }
    left, right, save = _pair()
    for who, colour in _WHO.items():
        for axes, name, scale in ((left, time[who], None), (right, size[who], 4e-6)):
            points = [(d, found[f"{name}@{at}"][0]) for at, d in SIZES.items() if f"{name}@{at}" in found]
            x = [d for d, _ in points]
            y = [value if scale is None else value * d * scale for d, value in points]
            axes.plot(x, y, marker="o", color=colour, label=who)
    for axes, label in ((left, "seconds"), (right, "megabytes sent")):
        axes.set(xlabel="parameters", ylabel=label, xscale="log", yscale="log")
    left.set_title("An upload: time", loc="left")
    right.set_title("An upload: bytes", loc="left")
    left.legend(frameon=False)
    save(file)


def hospitals(found: Numbers, file: Path) -> None:
    """One whole round of 100k parameters, all roles on one machine."""
    crowds = sorted(
        int(name.removeprefix("fhe_round_s@").split("x")[0])
        for name in found
        if name.startswith("fhe_round_s@")
    )
    left, right, save = _pair()
    colour = _WHO["Consilium"]
    left.plot(crowds, [found[f"fhe_round_s@{n}x100k"][0] for n in crowds], marker="o", color=colour)
    for name, style, label in (("up", "-", "sent"), ("down", "--", "received")):
        shares = [found[f"round_bytes_{name}_over_f32@{n}x100k"][0] * 0.4 for n in crowds]
        right.plot(crowds, shares, marker="o", color=colour, linestyle=style, label=label)
    for axes, label in ((left, "seconds"), (right, "megabytes of one hospital")):
        axes.set(xlabel="hospitals", ylabel=label)
        axes.set_ylim(bottom=0)
    left.set_title("A round of 100k parameters, all on one machine", loc="left")
    right.set_title("What one hospital sends and gets", loc="left")
    right.legend(frameon=False)
    save(file)


def _pair() -> tuple[Axes, Axes, Any]:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    # Names that depend on nothing, so that the same numbers make the same file.
    with mpl.rc_context({"svg.hashsalt": "consilium"}):
        figure = Figure(figsize=(9.5, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)

    def save(file: Path) -> None:
        with mpl.rc_context({"svg.hashsalt": "consilium"}):
            figure.savefig(file, metadata={"Date": None})

    return left, right, save
