"""jobflow jobs and Makers, one per structure and site."""
