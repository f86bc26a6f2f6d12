"""Physics of polarized emission and its anisotropy: arrays in, arrays out, numpy only."""
