"""Access control: roles, tokens, log-ins, and the pages of a person's own account."""
