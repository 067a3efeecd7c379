"""Background work: tracked tasks, beat's scheduler and the broker."""
