"""``manage.py up``: starts the processes of a store, watches them and stops them."""
