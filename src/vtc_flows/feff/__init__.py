"""Engines: a site's atoms in, its polarization-resolved spectrum out."""
