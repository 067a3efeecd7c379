"""HTTP/1.1 to model servers: client, connection pool, bodies, headers and timeouts."""
