"""Work in the background: tracked tasks, the scheduler and the broker."""
