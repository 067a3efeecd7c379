"""Ground truth: values that arrive late, are corrected, and are compared with answers.

``truths`` parses the forms of ground truth, ``agreement`` says whether the answer agrees with
it, ``writes`` and ``upsert`` write and remove it, ``joining`` matches many values to their
inferences, ``pending_truths`` keeps those whose inference has not arrived, and ``files``
parses CSV, Parquet and NDJSON. In code and messages a value of ground truth is also called an
actual.
"""
