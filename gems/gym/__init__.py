"""The simulator as Gymnasium environments, and wrappers with continuous actions."""
