"""The compiled loops of one-dimensional k-means: partition of sorted values, polish, assignment.

Arrays come in sorted, float32 unless said otherwise. kmeans.py, the only caller, says which loop
runs when and what the results promise. Importing this file imports numba.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from audioprune.compiled import compiled

Values = NDArray[np.float32]
Sums = NDArray[np.float64]
Places = NDArray[np.int64]
TINY = np.float32(np.finfo(np.float32).tiny)


@compiled()
def count_distinct(values: Values) -> int:
    """Count the different values of a sorted array."""
    count = 1 if values.size else 0
    for i in range(1, values.size):
        count += values[i] != values[i - 1]
    return count


@compiled()
def leans_negative(values: Values) -> bool:
    """Tell whether the mirrored array comes first, which fixes one orientation for w and -w."""
    size = values.size
    for i in range(size):
        if values[i] != -values[size - 1 - i]:
            return bool(values[i] < -values[size - 1 - i])
    return False


@compiled()
def prefix_sums(values: Values, shift: float) -> Sums:
    """Return the float64 sums of the first 0, 1, ..., n shifted values."""
    sums = np.empty(values.size + 1, np.float64)
    total = 0.0
    sums[0] = 0.0
    for i in range(values.size):
        total += np.float64(values[i]) - shift
        sums[i + 1] = total
    return sums


@compiled()
def distinct_edges(values: Values, count: int) -> Places:
    """Return the positions in a sorted array at which a new value starts, and the end."""
    edges = np.empty(count + 1, np.int64)
    edges[0] = 0
    found = 1
    for i in range(1, values.size):
        if values[i] != values[i - 1]:
            edges[found] = i
            found += 1
    edges[count] = values.size
    return edges


@compiled()
def _row(
    before: Sums,
    now: Sums,
    chosen: NDArray[np.int32],
    edges: Places,
    sums: Sums,
    k: int,
    low_j: int,
    high_j: int,
) -> None:
    """Fill one row of the dynamic programme by divide and conquer.

    The best cut grows with the position, so that each half of the positions needs only a part of
    the cuts.
    """
    # numbers one by one: a whole row at once would take seconds to compile
    stack = np.empty((64, 4), np.int64)
    stack[0, 0], stack[0, 1], stack[0, 2], stack[0, 3] = low_j, high_j, k - 1, high_j - 1
    depth = 1
    while depth:
        depth -= 1
        first, last = stack[depth, 0], stack[depth, 1]
        cut_low, cut_high = stack[depth, 2], stack[depth, 3]
        middle = (first + last) // 2
        best, best_cut = -1.0, cut_low
        end, end_sum = np.float64(edges[middle]), sums[middle]
        for cut in range(cut_low, min(cut_high, middle - 1) + 1):
            delta = end_sum - sums[cut]
            gain = before[cut] + delta * delta / (end - edges[cut])
            if gain > best:
                best, best_cut = gain, cut
        now[middle], chosen[middle] = best, best_cut
        if middle < last:
            stack[depth, 0], stack[depth, 1] = middle + 1, last
            stack[depth, 2], stack[depth, 3] = best_cut, cut_high
            depth += 1
        if first < middle:
            stack[depth, 0], stack[depth, 1] = first, middle - 1
            stack[depth, 2], stack[depth, 3] = cut_low, best_cut
            depth += 1


@compiled()
def best_partition(edges: Places, sums: Sums, k: int) -> Places:
    """Cut bins into ``k`` neighbouring runs of least squared error.

    Minimising the squared error is maximising the sum over clusters of (sum of values)^2 / count.

    Args:
        edges: Bin edges as positions in the sorted values, int64 (m + 1).
        sums: Prefix sums of the values at these edges, float64 (m + 1).
        k: Number of clusters, 1..m.

    Returns:
        Cluster edges as positions in the sorted values, int64 (k + 1).
    """
    bins = edges.size - 1
    chosen = np.zeros((k + 1, bins + 1), np.int32)
    before, now = np.full(bins + 1, -1.0), np.full(bins + 1, -1.0)
    for j in range(1, bins + 1):
        before[j] = sums[j] * sums[j] / edges[j]
    for row in range(2, k + 1):
        _row(before, now, chosen[row], edges, sums, row, row, bins - k + row)
        before, now = now, before
    cuts = np.empty(k + 1, np.int64)
    cuts[0], j = 0, bins
    for row in range(k, 0, -1):
        cuts[row] = edges[j]
        j = chosen[row, j]
    return cuts


@compiled()
def refine_partition(sums: Sums, cuts: Places, rounds: int, reach: int) -> None:
    """Move all cluster edges together to the best of places near them, in rounds.

    Bins leave edges on a grid, and moving one edge at a time can stop where only several edges
    together would improve. Each round looks at places evenly about every edge, and takes the best
    choice of all edges by dynamic programming; once no edge moves, the places draw closer.

    Args:
        sums: Prefix sums of the sorted values, float64 (n + 1).
        cuts: Cluster edges, int64 (k + 1), strictly increasing, changed in place.
        rounds: Most rounds; the first reaches an eighth of the way to the nearer neighbour.
        reach: Places on each side of an edge.
    """
    k = cuts.size - 1
    places = np.empty((k + 1, 2 * reach + 1), np.int64)
    gains = np.empty((k + 1, 2 * reach + 1), np.float64)
    chosen = np.zeros((k + 1, 2 * reach + 1), np.int32)
    scale = 8.0 * reach
    for _ in range(rounds):
        widest = 0.0
        for c in range(k + 1):
            room = 0
            if 0 < c < k:
                room = min(cuts[c] - cuts[c - 1], cuts[c + 1] - cuts[c]) - 1
            widest = max(widest, room / scale)
            for i in range(2 * reach + 1):
                offset = (i - reach) * room / scale
                places[c, i] = cuts[c] + np.int64(np.rint(offset))
                gains[c, i] = -1.0
        gains[0, reach] = 0.0
        for c in range(1, k + 1):
            for i in range(2 * reach + 1):
                end = places[c, i]
                end_sum, best = sums[end], -1.0
                for j in range(2 * reach + 1):
                    start = places[c - 1, j]
                    if gains[c - 1, j] < 0.0 or start >= end:
                        continue
                    delta = end_sum - sums[start]
                    gain = gains[c - 1, j] + delta * delta / (end - start)
                    if gain > best:
                        best, chosen[c, i] = gain, j
                gains[c, i] = best
        at, moved = reach, False
        for c in range(k, 0, -1):
            moved |= cuts[c] != places[c, at]
            cuts[c] = places[c, at]
            at = chosen[c, at]
        if not moved and widest < 1.0:
            return
        if not moved:
            scale *= 2.0


@compiled()
def _above(values: Values, start: int, middle: float) -> int:
    """Return how many values are at or below ``middle``; the search widens from ``start``."""
    size, step = values.size, 1
    low, high = start, start
    if start < size and values[start] <= middle:
        while high < size and values[high] <= middle:
            low = high + 1
            high += step
            step *= 2
        high = min(high, size)
    else:
        while low > 0 and values[low - 1] > middle:
            high = low - 1
            low = max(0, low - step)
            step *= 2
    while low < high:
        half = (low + high) // 2
        if values[half] <= middle:
            low = half + 1
        else:
            high = half
    return low


@compiled()
def _means(
    values: Values, sums: Sums, shift: float, cuts: Places, exact: bool, centroids: Values
) -> None:
    """Write the means of all clusters.

    ``exact`` adds the values of each cluster anew instead of subtracting prefix sums.
    """
    for c in range(centroids.size):
        first, last = cuts[c], cuts[c + 1]
        if exact:
            total = 0.0
            for i in range(first, last):
                total += values[i]
            mean = total / (last - first)
        else:
            mean = shift + (sums[last] - sums[first]) / (last - first)
        mean = min(max(mean, np.float64(values[first])), np.float64(values[last - 1]))
        centroids[c] = np.float32(mean)
        if centroids[c] == 0.0 and values[last - 1] > 0.0:
            centroids[c] = min(TINY, values[last - 1])
        elif centroids[c] == 0.0 and values[first] < 0.0:
            centroids[c] = max(-TINY, values[first])


@compiled()
def _refill(values: Values, cuts: Places) -> None:
    """Give every empty cluster half of the cluster with the largest count x range^2."""
    k, c = cuts.size - 1, 0
    while c < k:
        # find the first empty cluster
        if cuts[c + 1] > cuts[c]:
            c += 1
            continue
        # find the cluster to halve
        worst, at = -1.0, -1
        for other in range(k):
            first, last = cuts[other], cuts[other + 1]
            if last > first and values[last - 1] > values[first]:
                spread = (np.float64(values[last - 1]) - values[first]) ** 2 * (last - first)
                if spread > worst:
                    worst, at = spread, other
        first, last = cuts[at], cuts[at + 1]
        middle = 0.5 * (np.float64(values[first]) + values[last - 1])
        split = min(max(_above(values, first, middle), first + 1), last - 1)
        # move the edges between the two by one place
        if at > c:
            for i in range(c + 1, at):
                cuts[i] = cuts[i + 1]
            cuts[at] = split
        else:
            for i in range(c, at + 1, -1):
                cuts[i] = cuts[i - 1]
            cuts[at + 1] = split


@compiled()
def lloyd(
    values: Values, sums: Sums, shift: float, cuts: Places, exact: bool, max_iterations: int
) -> tuple[Values, int]:
    """Alternate means and nearest assignment on sorted values until nothing moves.

    Args:
        values: Sorted float32 values (n,).
        sums: Their shifted prefix sums, float64 (n + 1); shift as given to ``prefix_sums``.
        cuts: Cluster edges, int64 (k + 1), changed in place; clusters may be empty on entry.
        exact: Add the values of each cluster anew for each mean, which costs one pass over the
            values.
        max_iterations: Upper limit, a guard that the tests never reach.

    Returns:
        The centroids, float32 (k,), strictly increasing, and the number of iterations.
    """
    k = cuts.size - 1
    centroids = np.empty(k, np.float32)
    _refill(values, cuts)
    iterations = 0
    while iterations < max_iterations:
        iterations += 1
        _means(values, sums, shift, cuts, exact, centroids)
        moved = False
        for c in range(k - 1):
            middle = 0.5 * (np.float64(centroids[c]) + np.float64(centroids[c + 1]))
            cut = _above(values, cuts[c + 1], middle)
            moved |= cut != cuts[c + 1]
            cuts[c + 1] = cut
        if not moved:
            break
        _refill(values, cuts)
    return centroids, iterations


@compiled()
def assign(
    values: Values, centroids: Values, flip: bool, codes: NDArray[np.unsignedinteger]
) -> None:
    """Write the code of the nearest centroid of each value.

    The values may have any order; one half-way between two centroids takes the lower code. A table
    over equal cells of the range narrows the search to the few centroids that can be nearest.

    Args:
        values: float32 values (n,).
        centroids: Increasing float32 centroids (k,) of the values, or of the negated values if
            ``flip``.
        flip: Negate the values before the comparison and mirror the codes.
        codes: Result, uint8 or uint16 (n,).
    """
    k = centroids.size
    # middles[c]: the value from which on centroid c + 1 is nearer than c
    middles = np.empty(k + 1, np.float64)
    for c in range(k - 1):
        middles[c] = 0.5 * (np.float64(centroids[c]) + np.float64(centroids[c + 1]))
    low = np.float64(centroids[0])
    span = np.float64(centroids[k - 1]) - low
    cells = min(65536, 16 * k)
    scale = cells / span if k > 1 else 0.0
    # table[cell]: the first centroid that can be nearest to a value of that cell
    table = np.empty(cells + 1, np.int64)
    code = 0
    for cell in range(cells):
        table[cell] = code
        while code < k - 1 and (middles[code] - low) * scale < cell + 1:
            code += 1
    table[cells] = k - 1
    for i in range(values.size):
        value = -np.float64(values[i]) if flip else np.float64(values[i])
        cell = int(min(max((value - low) * scale, 0.0), cells - 1.0))
        first, last = table[cell], table[cell + 1]
        while first < last:
            half = (first + last) // 2
            if value <= middles[half]:
                last = half
            else:
                first = half + 1
        codes[i] = k - 1 - first if flip else first
