"""Problems that are built on solves: running costs, steady states, shooting, continuous adjoints."""
