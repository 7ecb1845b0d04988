"""GeMS: generative slate recommendation with reinforcement learning, reproduced end to end."""

__version__ = "0.1.0"
