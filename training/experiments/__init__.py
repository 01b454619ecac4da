"""Suites of experiments: a plan of runs, running what is not done, and a page with their table and chart."""
