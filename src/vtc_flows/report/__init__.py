"""A page with the figures and tables of one's own database."""
