"""A small real model server and the traffic that is sent to it.

Imports nothing of the store: it stands where somebody else's models would stand.
"""
