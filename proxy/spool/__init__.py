"""The spool: durable entries of calls on the local disk, until capture has stored them."""
