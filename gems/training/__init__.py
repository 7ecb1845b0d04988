"""Training, validation and test of one agent on one environment."""
