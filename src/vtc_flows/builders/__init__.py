"""
Builders: from stored documents to stored documents, each time what changed and no more.

* `FeatureBuilder`: materials -> features
* `SiteSpectraBuilder`: jobs and their arrays -> site_spectra
* `SamsBuilder`: site_spectra and materials -> sams
* `DatasetBuilder`: sams -> datasets
* `ExponentBuilder`: sams -> exponents
* `ExponentCurveBuilder`: datasets and exponents -> exponent_curves
* `models.ModelBuilder`: datasets -> models (not imported here: scikit-learn takes a second)
* `predictions.PredictionBuilder`: features and models -> predictions (nor is this)
"""

from __future__ import annotations

from vtc_flows.builders.dataset import DatasetBuilder
from vtc_flows.builders.exponents import ExponentBuilder, ExponentCurveBuilder
from vtc_flows.builders.features import FeatureBuilder
from vtc_flows.builders.sams import SamsBuilder
from vtc_flows.builders.spectra import SiteSpectraBuilder

__all__ = [
    "DatasetBuilder",
    "ExponentBuilder",
    "ExponentCurveBuilder",
    "FeatureBuilder",
    "SamsBuilder",
    "SiteSpectraBuilder",
]
