"""Figures of the catalogue; ``make(runs)`` of each module draws one."""
