"""Evaluation: suites that are files, runs that are folders, figures with intervals."""
