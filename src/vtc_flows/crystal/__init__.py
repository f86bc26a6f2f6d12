"""From a crystal structure to what the physics and FEFF need."""
