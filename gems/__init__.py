"""GeMS: generative slate recommendation with reinforcement learning, reproduced end to end.

"Section 6" or "Section 6 of the specification" in docstrings is that of docs/specification.md.
"""

__version__ = "0.1.0"
