"""Statistics, tables and figures; reads result files only."""
