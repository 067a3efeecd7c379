"""Zone maps: bounds and summaries of runs of consecutive inferences.

A walk skips the runs (segments) in which no row can match, and a count adds up whole ones.
``inferences.models.zone_maps`` defines a segment and the invariant that keeps it true,
``build`` makes segments, ``pruning`` says which rows a query may skip, ``counts`` adds up, and
``inferences.maintenance.zone_map_checks`` compares segments with the rows.
"""
