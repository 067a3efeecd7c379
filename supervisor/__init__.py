"""``manage.py up``: start the processes of a store, watch them and stop them."""
