"""Datasets made by playing a policy: logged data, D4RL arrays and Minari datasets."""
