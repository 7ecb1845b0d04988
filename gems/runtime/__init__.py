"""Services for jobs: files, locks, progress, tracking, devices, random streams."""
