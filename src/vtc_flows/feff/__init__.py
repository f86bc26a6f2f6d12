"""Engines: a cluster in, a polarization-resolved spectrum out."""
