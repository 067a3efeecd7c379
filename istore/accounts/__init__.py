"""Who may do what: access, tokens and log-ins, and a person's own pages."""
