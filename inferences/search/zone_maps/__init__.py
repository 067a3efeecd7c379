"""What runs of consecutive inferences hold in their number slots, so that walks skip them.

``models.zone_maps`` says what a segment promises and how that stays true, ``build`` makes
segments, ``pruning`` says which rows a question may pass over, and
``maintenance.zone_map_checks`` holds the promise against the rows.
"""
