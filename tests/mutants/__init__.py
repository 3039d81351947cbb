"""Mutants: small changes to the code that decides, and whether the tests notice them: ``make mutants``."""
