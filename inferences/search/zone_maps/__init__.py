"""What runs of consecutive inferences hold in their number slots, so that walks skip them.

``models`` says what a segment promises and how that stays true, ``sealing`` makes
segments, ``skipping`` says which rows a question may pass over, ``checking`` holds the
promise against the rows.
"""
