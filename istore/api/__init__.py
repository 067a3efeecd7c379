"""What the APIs of all apps share: strict JSON, problem documents, rate limits, the schema."""
