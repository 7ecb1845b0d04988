"""Rankers: how an action of an agent becomes a slate of items."""
