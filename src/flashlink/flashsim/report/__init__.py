"""The report of a run: one HTML page that needs nothing else, and a summary for the terminal."""
