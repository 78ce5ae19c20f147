"""The session: plan, journal, state, runner and its socket, record. Knows an engine only by its protocol."""
