"""Statistics and tables; reads result files only."""
