"""Django's backend for PostgreSQL, with session settings fixed at each connection."""
