"""One self-contained HTML page: what was asked, answered, refused and verified. No script, nothing is fetched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from analytics.plots import forest_plot, survival_plot

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 62rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem } h2 { margin-top: 2.2rem; border-bottom: 1px solid #ddd } svg { max-width: 100%; height: auto }
table { border-collapse: collapse; margin: .6rem 0 } th, td { padding: .2rem .9rem .2rem 0; text-align: right }
th:first-child, td:first-child { text-align: left } th { color: #666; font-weight: 500 }
.passed { color: #00684a } .failed { color: #b00020; font-weight: 600 } code { font-size: .88em }
figure { margin: 1rem 0 } figcaption { color: #666; font-size: .9em }
"""


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    head = "".join(f"<th>{escape(h)}</th>" for h in heads)
    body = "".join("<tr>" + "".join(f"<td>{escape(str(c))}</td>" for c in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def picture(svg: bytes, caption: str) -> str:
    text = svg.decode()
    return f"<figure>{text[text.index('<svg') :]}<figcaption>{escape(caption)}</figcaption></figure>"


def finding(name: str, found: Mapping[str, Any], note: str = "") -> str:
    """One analysis's released answer."""
    title = f"<h3>{escape(name)}: {escape(found['kind'].replace('_', ' '))}</h3>"
    match found["kind"]:
        case "kaplan_meier":
            return title + picture(survival_plot(found, "svg", note=note), found["rule"])
        case "logistic":
            fit = f"n {found['n']}, deviance {found['deviance']:.4f}, {found['rounds']} rounds, ridge {found['ridge']}"
            return title + picture(forest_plot(found, "svg"), fit)
        case "logrank":
            rows = [(g["group"], g["n"], g["observed"], f"{g['expected']:.2f}") for g in found["groups"]]
            test = f"<p>chi² {found['chi2']:.4f}, df {found['df']}, p {found['p']:.4g}; times {found['times']}</p>"
            return title + table(("group", "n", "observed", "expected"), rows) + test
        case "moments":
            listed = [(c, f"{v['mean']:.6g}", f"{v['sd']:.6g}") for c, v in found["columns"].items()]
            inner = table(("column", "mean", "sd"), listed)
            return title + f"<details><summary>n {found['n']}</summary>{inner}</details>"
        case _:
            return title + f"<p>mode {escape(str(found['mode']))}, {found.get('rounds', '')} rounds</p>"


def page(sections: Sequence[tuple[str, str]], screen: str) -> str:
    """The whole document; ``screen`` is what the demo printed."""
    body = "".join(f"<h2>{escape(title)}</h2>{content}" for title, content in sections)
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>Consilium</title><style>{STYLE}</style>"
        f"<h1>Consilium: what the council did</h1>{body}<h2>Screen</h2><pre>{escape(screen)}</pre></html>\n"
    )


def study(title: str, content: Mapping[str, Any], checks: Sequence[Mapping[str, str]]) -> tuple[str, str]:
    """A study's section: every answer, then every check of the auditor."""
    test = next((f for f in content.values() if f["kind"] == "logrank"), None)
    note = f"log-rank, stratified by hospital: p = {test['p']:.3f}" if test else ""
    answers = "".join(finding(name, found, note) for name, found in content.items())
    rows = "".join(
        f"<tr><td>{escape(c['name'])}</td><td>{escape(c['subject'])}</td>"
        f"<td class='{escape(c['outcome'])}'>{escape(c['outcome'])}</td><td>{escape(c['detail'])}</td></tr>"
        for c in checks
    )
    audit = f"<details><summary>{len(checks)} checks by the auditor</summary><table>{rows}</table></details>"
    return title, answers + audit


def commands(given: Sequence[str]) -> tuple[str, str]:
    """What people typed, or could have."""
    return "Commands", "<pre>" + escape("\n".join(given)) + "</pre>"


def write(path: Path, sections: Sequence[tuple[str, str]], screen: str) -> Path:
    path.write_text(page(sections, screen), encoding="utf-8")
    return path
