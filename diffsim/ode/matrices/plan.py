"""What the numbers of a plan mean, which ``structure.py`` makes and ``lu.py`` reads: a header, then the lists it says where to find."""

#: The kind; how many numbers of w hold W before it is factorised; layout and half-widths of a band, and whether it is narrow; entries of
#: M, of what completes it to a regular matrix, and whether it is the identity; where lists begin: places, where J's entries belong in w,
#: where M's do, rows and columns of M's; for sparse factors where each row begins in w (and at last its work), its diagonal entry, and the
#: columns of all entries; where each row of W's own entries begins, their columns, and where each of them belongs among the factors.
#: Where the memory of an iteration begins in w, after how many turns it starts again, and whether the factors are incomplete, so that
#: there is always one. Last, how many solves with factors at hand cost as much as new factors; the same, or 0 where it is not worth to
#: iterate instead.
(KIND, FORMED, STRIDE, SHIFT, KL, KU, NARROW, MASSES, FILLERS, PLAIN, PLACE, JACOBIAN_AT, MASS_AT, MASS_ROWS, MASS_COLUMNS, ROWS, DIAGONALS,
 COLUMNS, OWN_ROWS, OWN_COLUMNS, INTO, KRYLOV, RESTART, INCOMPLETE, RATIO, BUDGET, HEADER) = range(27)
#: Kinds: a full or a banded matrix, with row interchanges; sparse factors, without.
BANDED, SPARSE = 0, 1
