"""Array programs and their contestants, one file each: what ``benchmarks/compiler.py`` runs."""
