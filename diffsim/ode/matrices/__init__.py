"""Linear algebra of implicit methods: how matrices are stored and factorised, mass matrices."""
