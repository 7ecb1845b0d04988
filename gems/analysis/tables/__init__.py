"""Tables of the catalogue; ``make(runs)`` of each module returns a tidy table and its sheet."""
