"""Effects and causes: statistics over what the queries return."""
