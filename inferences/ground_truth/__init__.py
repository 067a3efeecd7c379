"""What came true: actuals that come late, are corrected, and are held against answers.

``truths`` reads the forms an actual may have, ``agreement`` says whether the answer agrees
with it, ``writes`` writes and removes, ``joining`` brings many at once to the inferences
they belong to, ``pending_truths`` keeps those whose inference has not arrived, and
``files`` reads CSV, Parquet and NDJSON.
"""
