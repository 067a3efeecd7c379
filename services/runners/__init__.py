"""How a service is run: by a mock, at a URL, or as processes of this installation.

Each kind reads its ``configuration``, which came with a request, and refuses what it does
not know; what an operator decides (commands, addresses that may be asked) is never in it.
"""
