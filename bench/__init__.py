"""Figures, each beside a floor or a peer measured in the same run: ``make bench``.

Machines are shared and noisy: read the ratios, not the seconds.
"""
