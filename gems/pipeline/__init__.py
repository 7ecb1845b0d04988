"""The stages of the pipeline: outputs, inputs, provenance, status and verification."""
