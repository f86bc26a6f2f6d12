"""Full multiple scattering: phase shifts in, polarization tensor out (Hartree atomic units)."""
