"""The simulated users: items, topics, clicks, boredom (Section 1 of the specification)."""
