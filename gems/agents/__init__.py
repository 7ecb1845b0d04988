"""Agents: one file for each algorithm."""
