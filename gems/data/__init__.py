"""Logged data, its file format, and the replay buffer."""
