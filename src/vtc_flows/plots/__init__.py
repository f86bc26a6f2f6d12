"""Pictures: of records, comparisons, data sets, strain studies and models."""
