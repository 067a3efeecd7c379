"""Zone maps: the bounds of the number slots in runs of consecutive inferences.

A walk skips the runs (segments) in which no row can match. ``inferences.models.zone_maps``
defines a segment and the invariant that keeps it true, ``build`` makes segments, ``pruning``
says which rows a query may skip, and ``inferences.maintenance.zone_map_checks`` compares
segments with the rows.
"""
