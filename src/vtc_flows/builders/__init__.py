"""
Builders: from stored documents to stored documents, each time what changed and no more.

* `FeatureBuilder`: materials -> features
"""

from __future__ import annotations

from vtc_flows.builders.features import FeatureBuilder

__all__ = ["FeatureBuilder"]
