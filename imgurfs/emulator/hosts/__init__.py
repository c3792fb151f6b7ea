"""The hosts a client talks to: requests in, answers out, sockets and TLS."""
