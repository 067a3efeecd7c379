"""Runners of services: a mock, a server at a URL, or processes of this installation.

Each kind parses its ``configuration``, which came with a request, and refuses unknown
members. What only an operator decides (commands, allowed addresses) is never in it.
"""
