"""Compare two runs: is the new one worse or slower?"""
