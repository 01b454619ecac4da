"""Suites of trainings: plan, run, results, report."""
