"""Pages for operators, rendered on the server. They read the store; what they show is the same on every engine."""
