"""Items, users, click models and the simulator (Section 1 of the specification)."""
