"""Simulated micrographs with exact captions: the corpus that the project makes itself.

In the manner of SIMCEP (Lehmussola et al. 2007, IEEE Trans. Med. Imaging, doi 10.1109/TMI.2007.896925): parametric
objects, then optics, then a camera. Everything is procedural; no pixel comes from a real picture.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ragvlm.simulate.corpus import Simulation as Simulation
    from ragvlm.simulate.corpus import simulate_corpus as simulate_corpus
    from ragvlm.simulate.picture import Painter
    from ragvlm.simulate.picture import Picture as Picture

PAINTERS: dict[str, str] = {
    "dna_nuclei": "nuclei:draw_dna",
    "blood_smear": "blood:draw_smear",
    "cell_bodies": "cells:draw_bodies",
    "he_tissue": "histology:draw_he",
    "nuclear_foci": "foci:draw_foci",
    "phase_contrast": "phase:draw_phase",
    "ihc_membrane": "histology:draw_ihc_membrane",
    "single_molecules": "foci:draw_molecules",
    "unstained_cells": "unstained:draw_unstained",
    "composite_cells": "composite:draw_composite",
    "comet_assay": "comet:draw_comet",
    "wound_healing": "phase:draw_wound",
    "mitotic_marker": "nuclei:draw_mitotic",
    "worms_bright_field": "worms:draw_worms_well",
    "ihc_nuclear": "histology:draw_ihc_nuclear",
    "epithelium_clones": "composite:draw_epithelium",
    "worms_fluorescence": "worms:draw_worms_fluorescence",
    "agar_colonies": "colonies:draw_colonies",
    "worms_stained": "worms:draw_worms_stained",
    "colony_array": "arrays:draw_array",
}
"""Kind -> "module:function" inside this package; a function is a ``Painter``."""

KINDS: tuple[str, ...] = tuple(PAINTERS)
"""Names of the kinds, in the order in which a corpus takes turns through them."""

__all__ = ["KINDS", "PAINTERS", "Picture", "Simulation", "painter", "simulate_corpus"]

_HOME = {"Picture": "picture", "Simulation": "corpus", "simulate_corpus": "corpus"}


def painter(kind: str) -> Painter:
    """The function that draws a kind; raises InputError for an unknown name."""
    from ragvlm.errors import InputError, require

    if kind not in PAINTERS:
        raise InputError(f"unknown kind {kind!r}; choose from {', '.join(KINDS)}")
    require("scipy", "simulate")
    module, _, name = PAINTERS[kind].partition(":")
    found: Painter = getattr(importlib.import_module(f"ragvlm.simulate.{module}"), name)
    return found


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'ragvlm.simulate' has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"ragvlm.simulate.{_HOME[name]}"), name)
    globals()[name] = value
    return value
