"""Benchmarks, run by hand: ``./dev bench [NAME]``. Ratios where a peer exists.

Machines differ and are noisy, so a time stands beside the time of something comparable
in the same run, and medians are quoted.
"""
