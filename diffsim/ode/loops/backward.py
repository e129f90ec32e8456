"""What the adjoint loops of several families share: where they begin, how they go from step to step, where they arrive.

Part of the stepping loops (``erk.py``), in the same subset of Python.
"""

from diffsim.codegen.loops import row, row3, unroll, vjp


def depart(steps, span, nodes, kappa):
    """Nothing is known of the slope at the end of the whole solve; where this part ends before, it was carried here."""
    if nodes[steps] == span:
        for q in range(kappa.shape[1]):
            kappa[0, q] = 0.0


def arrive(k, t0, steps, rate, o, p, nodes, stages, out_bar, y_bar, p_bar, t_bar, kappa):
    """Cotangents of the slope where the solve starts, if this part starts there, and of the outputs up to number o, which lie there."""
    if steps == 0 and rate == 1:
        for i in range(o + 1):
            for q in range(y_bar.shape[0]):
                kappa[0, q] += out_bar[i, q]
    if nodes[0] == 0.0:
        vjp(k, t0, row3(stages, 0, 0), p, row(kappa, 0), y_bar, p_bar, t_bar)
    if rate == 0:
        for i in range(o + 1):
            for q in range(y_bar.shape[0]):
                y_bar[q] += out_bar[i, q]


def hand_over(end, y_bar, kappa, g):
    """Cotangents of a step's start become those of the end of the step before, whose others become 0."""
    for q in range(y_bar.shape[0]):
        g[end, q] = y_bar[q]
        y_bar[q] = 0.0
        kappa[end, q] = kappa[0, q]
    clear(kappa, end)


def carry(end, y_bar, kappa, g):
    """As ``hand_over``; of the other slopes' cotangents only that of the first becomes 0: without outputs the rest are written unread."""
    for q in range(y_bar.shape[0]):
        g[end, q] = y_bar[q]
        y_bar[q] = 0.0
        kappa[end, q] = kappa[0, q]
        kappa[0, q] = 0.0


def gather_ends(o, sigma, rate, following, out_bar, new_bar):
    """Cotangents of the outputs at the end of a step, given to the state there. Returns the number of the next output."""
    while o >= 0 and rate == 0 and sigma[o] == following:
        for q in range(new_bar.shape[0]):
            new_bar[q] += out_bar[o, q]
        o -= 1
    return o


def clear(kappa, end):
    """All rows but row ``end`` become 0."""
    for i in range(end):
        unroll()
        for q in range(kappa.shape[1]):
            kappa[i, q] = 0.0
    for i in range(end + 1, kappa.shape[0]):
        for q in range(kappa.shape[1]):
            kappa[i, q] = 0.0
