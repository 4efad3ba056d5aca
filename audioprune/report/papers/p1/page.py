"""The files and the page of the report of Plain & Biswas: tables, claims, figures, listening tests and audio.

What is in them is decided in p1.py, p1_claims.py and p1_figures.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from audioprune.errors import ConfigError, DataError
from audioprune.report.clips import clips
from audioprune.report.figures.drawing import Figure
from audioprune.report.figures.listening import listening_figures, listening_tables
from audioprune.report.page import Section, write_page
from audioprune.report.papers.p1.claims import claims_table
from audioprune.report.papers.p1.figures import figures_of
from audioprune.report.papers.p1.paper import (
    System,
    layer_table,
    model_table,
    score_table,
    systems_of,
    timing_table,
)
from audioprune.report.published import read_reported
from audioprune.report.request import Request
from audioprune.report.runs.scales import honest_scale
from audioprune.report.tables import Table, write_table

_LISTENED = (
    "The tables hold all ratings of `audioprune listen action=stats`; what the paper's own "
    "listeners said has no printed number."
)
Told = Mapping[str, Any]


def read_ratings(source: str | Path | None) -> Told | None:
    """Read the statistics of a listening test; None without a file.

    Raises:
        ConfigError: The file holds no statistics of ratings.
    """
    if source is None:
        return None
    path = Path(source)
    path = path / "statistics.json" if path.is_dir() else path
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no JSON"
        raise ConfigError(
            f"report.ratings: expected statistics.json of `audioprune listen action=stats`, got "
            f"{path} ({reason})"
        ) from error
    if not isinstance(value, dict) or not {
        "tests",
        "means",
        "differences",
        "items",
        "listeners",
    } <= set(value):
        raise ConfigError(
            f"report.ratings: expected statistics.json of `audioprune listen action=stats`, got "
            f"{path}; give that file"
        )
    return value


def _systems(request: Request) -> tuple[list[System], Told]:
    reported = read_reported(request.reported, "p1")
    systems = systems_of(request.jobs, reported)
    if not systems:
        raise DataError(
            "expected runs of model=dcae or dcae10, got none; run `audioprune train "
            "experiment=p1/dcae_desk` first"
        )
    return systems, reported


def _files(drawn: Sequence[Figure]) -> list[Path]:
    return [file for figure in drawn for file in (figure.png, figure.csv)]


def write_figures(request: Request) -> list[Path]:
    """Write every figure that there is data for.

    Raises:
        DataError: The runs hold none of the paper's models, or nothing to draw.
    """
    systems, reported = _systems(request)
    drawn = figures_of(request.out, request.jobs, systems, reported)
    if not drawn:
        raise DataError(
            "expected runs of pipeline=p1_sensitivity, p1_post or curves, got none; run one first"
        )
    return _files(drawn)


def write_p1(request: Request) -> list[Path]:
    """Write everything of Plain & Biswas: models, scores, layers, post against during training, claims, figures and the page.

    Raises:
        DataError: The runs hold none of the paper's models.
        ConfigError: The file of ratings holds none.
    """
    systems, reported = _systems(request)
    ratings = read_ratings(request.ratings)
    tables = {
        "Models": model_table(systems, reported),
        "Claims": claims_table(systems, reported, ratings),
        "After or during training": timing_table(systems, reported),
        "Layers": layer_table(systems),
        "Scores": score_table(systems),
    }
    tables = {title: table for title, table in tables.items() if table.rows}
    files = [file for table in tables.values() for file in write_table(table, request.out)]
    folder = request.out / "figures"
    drawn = figures_of(folder, request.jobs, systems, reported)
    sections = [Section(title, (table,)) for title, table in tables.items()] + [
        Section("Figures", figures=tuple(drawn))
    ]
    if ratings:
        heard, pictures = listening_tables(ratings)[:3], listening_figures(ratings, folder)
        files += [file for table in heard for file in write_table(table, request.out)]
        drawn += pictures
        sections.append(
            Section("Listening tests", tuple(heard), tuple(pictures), notes=(_LISTENED,))
        )
    sections.append(Section("Audio", clips=tuple(clips(request.jobs))))
    lead = (
        f"{len(request.jobs)} runs. Scale: "
        f"{' | '.join(dict.fromkeys(honest_scale(job.scale) for job in request.jobs))}."
    )
    return [
        *files,
        *_files(drawn),
        write_page(request.out / "report.html", "Pruning an audio-enhancing GAN", lead, sections),
    ]


def _table(build: Callable[[Sequence[System], Told], Table]) -> Callable[[Request], list[Path]]:
    return lambda request: write_table(build(*_systems(request)), request.out)


KINDS = {
    "p1": write_p1,
    "p1_models": _table(model_table),
    "p1_layers": _table(lambda systems, reported: layer_table(systems)),
    "p1_figures": write_figures,
    "p1_claims": lambda request: write_table(
        claims_table(*_systems(request), read_ratings(request.ratings)), request.out
    ),
}
