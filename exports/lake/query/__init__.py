"""SQL over the lake: one SELECT, in a process of its own that has bounds and can be ended.

``worker`` is the program of that process, which knows nothing of Django; ``running`` starts it and
gives it the tables that the caller may see.
"""
