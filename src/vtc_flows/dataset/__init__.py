"""A campaign over many crystals, and the data set that it makes."""
