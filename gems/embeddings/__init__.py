"""Item embeddings learnt from logged clicks."""
