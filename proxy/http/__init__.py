"""HTTP to and from model servers: client, pool, bodies, headers and timeouts."""
