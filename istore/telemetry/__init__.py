"""What operators see of running processes: metrics, request ids, traces and error reports.

Every process calls ``startup.begin`` with its role. Metrics are counted in memory and told at one
guarded endpoint for each role; traces and error reports exist only where a setting asks for them.
"""
