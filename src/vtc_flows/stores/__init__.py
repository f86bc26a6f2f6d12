"""The database: one for jobs, results, materials and, in FireWorks' hands, what is to be run."""
