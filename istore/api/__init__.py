"""What the APIs of all apps share: strict JSON, problems, limits and the schema."""
