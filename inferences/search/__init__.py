"""Find the inferences that a filter matches, at a bounded cost whatever the data.

``query.InferenceQuery`` is what a caller asks. Each kind of ``filters`` gives its condition
and its access paths, ``conditions`` puts both together for one model, ``planner`` finds the
rows of a page (procedure P of the storage schema), ``orders`` defines the sort orders, and
``cursors`` encodes where a page ended. Code that reads every match begins with
``rare_label_scan.all_matching``.
"""
