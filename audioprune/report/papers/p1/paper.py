"""The report of Plain & Biswas on pruning an audio-enhancing generative network.

``PAPER`` names its parts; what the slides say is in ``conf/reported/p1.yaml``.
"""

from __future__ import annotations

from pathlib import Path

from audioprune.errors import DataError
from audioprune.report.clips import clips
from audioprune.report.page import Section, short_lead_of
from audioprune.report.paper import ClaimsPart, FiguresPart, Paper, SectionsPart, TablePart
from audioprune.report.papers.p1.claims import RULES, notes
from audioprune.report.papers.p1.figures import draw
from audioprune.report.papers.p1.listeners import listening, read_ratings
from audioprune.report.papers.p1.systems import P1Evidence, systems_of
from audioprune.report.papers.p1.tables import layer_table, model_table, score_table, timing_table
from audioprune.report.published import Published
from audioprune.report.request import Request

_NO_MODEL = (
    "expected runs of model=dcae or dcae10, got none; run `audioprune train "
    "experiment=p1/dcae_desk` first"
)
_NO_FIGURE = "expected runs of pipeline=p1_sensitivity, p1_post or curves, got none; run one first"


def read_evidence(request: Request, published: Published) -> P1Evidence:
    """Return the evidence of a report's runs.

    Raises:
        DataError: The runs hold none of the paper's models.
        ConfigError: The file of ratings holds none.
    """
    systems = systems_of(request.jobs, published)
    if not systems:
        raise DataError(_NO_MODEL)
    return P1Evidence(request.jobs, published, systems, read_ratings(request.ratings))


def _audio(evidence: P1Evidence, folder: Path) -> list[Section]:
    return [Section("Audio", clips=tuple(clips(evidence.jobs)))]


PAPER = Paper(
    name="p1",
    title="Pruning an audio-enhancing GAN",
    read=read_evidence,
    parts={
        "models": TablePart("Models", model_table, optional=True),
        "claims": ClaimsPart("p1_claims", RULES, notes),
        "timing": TablePart("After or during training", timing_table, optional=True),
        "layers": TablePart("Layers", layer_table, optional=True),
        "scores": TablePart("Scores", score_table, optional=True),
        "figures": FiguresPart("Figures", draw, missing=_NO_FIGURE),
        "listening": SectionsPart(listening),
        "audio": SectionsPart(_audio),
    },
    lead=short_lead_of,
)
