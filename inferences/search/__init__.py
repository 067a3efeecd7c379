"""Find what a filter matches, whatever the data: quickly, or not at all.

``query.InferenceQuery`` is what a caller asks. ``access_paths`` takes apart what ``matching``
put together, ``planner`` finds the rows of a page (procedure P of the storage schema),
``orders`` says by what they are sorted, ``cursors`` where a page ended. Whoever reads all
that matches begins with ``rare_label_scan.all_matching``.
"""
