"""How small and how fast are packed tensors beside general compressors of the same content?

``ITEM`` packs pruned and clustered weights: Laplacian ones, of which the largest are kept, so that
positions are independent; and a small network that was trained with an l1 penalty. Sizes are
those of a tensor's body, codebook included; the entropy is that of ``packing.storage``: positions
at the tensor's density, codes at their frequencies, 32 bits for a shared value.
"""

from __future__ import annotations

import heapq
import lzma
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from audioprune.compress.quantize.kmeans import cluster
from audioprune.packing.storage import storage
from audioprune.packing.tensors import Piece, Record, decode, encode
from scripts.benchmarks.frame import Item, Peer, Row, Run, Unequal, at_least, at_most

SHARES = (0.5, 0.8, 0.9, 0.95, 0.98)
LARGE = 1 << 22
Bits = NDArray[np.uint8]


def laplacian(rows: int, columns: int, sparsity: float, levels: int) -> Piece:
    """Return clustered weights of which the largest are kept."""
    rng = np.random.default_rng(0)
    weight = torch.from_numpy(rng.laplace(size=(rows, columns)).astype(np.float32))
    bound = weight.abs().flatten().kthvalue(max(1, int(sparsity * weight.numel()))).values
    return clustered(weight, weight.abs() > bound, levels)


def clustered(weight: Tensor, keep: Tensor, levels: int) -> Piece:
    """Return a tensor whose kept weights have K shared values."""
    book = cluster(weight, levels, keep)
    return Piece(book.restore(keep), keep, book)


def ideal(pieces: dict[str, Piece]) -> float:
    """Return the entropy in bytes, codebooks included."""
    state = {name: piece.tensor for name, piece in pieces.items()}
    masks = {name: piece.keep for name, piece in pieces.items() if piece.keep is not None}
    books = {name: piece.codebook for name, piece in pieces.items() if piece.codebook is not None}
    return storage(state, masks, books).bytes_ideal


def body(piece: Piece) -> tuple[Record, bytes]:
    """Pack one tensor."""
    return encode("w", piece)


def content(piece: Piece, packed: bool) -> bytes:
    """Return what general compressors get: mask and codes, packed to bits, or a byte a weight."""
    assert piece.keep is not None and piece.codebook is not None
    keep, book = piece.keep.numpy(), piece.codebook
    codes = book.codes.numpy()
    if not packed:
        dense = np.zeros(keep.size, np.uint8)
        dense[keep.reshape(-1)] = codes + 1
        return dense.tobytes()
    width = max(1, int(np.ceil(np.log2(book.levels))))
    bits = (codes[:, None] >> np.arange(width)) & 1
    return np.packbits(keep.reshape(-1)).tobytes() + np.packbits(bits.reshape(-1)).tobytes()


def huffman_bits(counts: NDArray[np.integer]) -> int:
    """Return the bits of a sequence under its Huffman code, with 5 bits for each code's length."""
    heap = [int(count) for count in counts if count]
    heapq.heapify(heap)
    total = 0
    while len(heap) > 1:
        joined = heapq.heappop(heap) + heapq.heappop(heap)
        total += joined
        heapq.heappush(heap, joined)
    return total + 5 * counts.size


def gaps_and_huffman(piece: Piece) -> float:
    """Return bytes of Deep Compression: gaps of the best width and codes, each under Huffman."""
    assert piece.keep is not None and piece.codebook is not None
    places = np.flatnonzero(piece.keep.numpy().reshape(-1))
    gaps, codes = np.diff(places, prepend=-1) - 1, piece.codebook.codes.numpy()
    best = np.inf
    for width in range(2, 11):
        # a gap that is too wide takes fillers, each with a code of its own
        fillers, rest = np.divmod(gaps, 1 << width)
        counts = np.append(np.bincount(rest, minlength=1 << width), fillers.sum())
        best = min(best, huffman_bits(counts))
    whole = best + huffman_bits(np.bincount(codes)) + 32 * piece.codebook.levels
    return float(whole) / 8


def l1_network(steps: int) -> dict[str, Tensor]:
    """Train a regression network with an l1 penalty, and return its matrices."""
    torch.manual_seed(0)
    sizes = (161, 512, 512, 161)
    layers = [nn.Linear(a, b) for a, b in zip(sizes, sizes[1:], strict=False)]
    model = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), layers[2])
    mixing = torch.randn(24, 161)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(steps):
        inputs = torch.tanh(torch.randn(64, 24) @ mixing) + 0.3 * torch.randn(64, 161)
        target = torch.sigmoid(3 * torch.cumsum(inputs, 1) / 12)
        loss = (model(inputs) - target).square().mean()
        loss = loss + 2e-5 * sum(layer.weight.abs().sum() for layer in layers)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return {f"{i}.weight": layer.weight.detach().clone() for i, layer in enumerate(layers)}


def trained_pieces(weights: dict[str, Tensor], sparsity: float) -> dict[str, Piece]:
    """Keep the largest weights of all tensors together."""
    magnitudes = torch.cat([weight.abs().flatten() for weight in weights.values()])
    bound = magnitudes.kthvalue(int(sparsity * magnitudes.numel())).values
    return {name: clustered(w, w.abs() > bound, 16) for name, w in weights.items()}


def sizes(run: Run, name: str, pieces: dict[str, Piece], most: float) -> Iterator[Row]:
    """Compare bytes with the entropy and with every compressor, after a round trip."""
    ours, note = 0, "round trip bit-exact"
    for piece in pieces.values():
        record, coded = body(piece)
        found = decode(record, coded)
        if not torch.equal(found.tensor, piece.tensor):
            raise Unequal(f"{name} is not what was packed")
        ours += len(coded)
    peers: dict[str, tuple[float, Any]] = {"entropy": (ideal(pieces), at_most(most))}
    peers["gaps and Huffman"] = sum(map(gaps_and_huffman, pieces.values())), None
    for label, compress in compressors(run).items():
        best = np.inf
        for packed in (False, True):
            joined = [compress(content(piece, packed)) for piece in pieces.values()]
            best = min(best, sum(map(len, joined)))
        books = sum(4 * piece.codebook.levels for piece in pieces.values() if piece.codebook)
        peers[label] = float(best + books), None
    yield from run.figure(name, float(ours), peers, unit="B", note=note)


def compressors(run: Run) -> dict[str, Callable[[bytes], bytes]]:
    """Return the general compressors that are installed."""
    found: dict[str, Callable[[bytes], bytes]] = {"lzma, 6": partial(lzma.compress, preset=6)}
    zstd, brotli = run.peer("zstandard"), run.peer("brotli")
    if zstd:
        found["zstd, 19"] = zstd.ZstdCompressor(level=19).compress
    if brotli:
        found["brotli, 9"] = partial(brotli.compress, quality=9)
    return found


def rows(run: Run) -> Iterator[Row]:
    """Measure sizes of small, large and trained tensors, and rates of large ones."""
    for size in (100, 316):
        for sparsity in (0.8, 0.95, 0.98) if run.quick else SHARES:
            piece = laplacian(size, size, sparsity, 16)
            yield from sizes(
                run, f"{size * size:,} weights, {sparsity:.0%}, K = 16", {"w": piece}, 1.005
            )
    weights = l1_network(400 if run.quick else 3000)
    for sparsity in (0.8, 0.9, 0.95):
        pieces = trained_pieces(weights, sparsity)
        yield from sizes(run, f"l1-trained 161-512-512-161, {sparsity:.0%}, K = 16", pieces, 0.9)
    zstd = run.peer("zstandard")
    for sparsity in (0.8, 0.95) if run.quick else SHARES:
        piece = laplacian(2048, LARGE // 2048, sparsity, 16)
        record, coded = body(piece)
        yield from run.figure(
            f"{LARGE:,} weights, {sparsity:.0%}, K = 16",
            float(len(coded)),
            {"entropy": (ideal({"w": piece}), at_most(1.005))},
            unit="B",
        )
        plain = content(piece, False)
        turns = 3
        packers: dict[str, Peer] = {}
        readers: dict[str, Peer] = {}
        if zstd:
            packers["zstd, 19"] = Peer(
                partial(zstd.ZstdCompressor(level=19).compress, plain), turns=1
            )
            small = zstd.ZstdCompressor(level=19).compress(plain)
            readers["zstd, 19"] = Peer(partial(zstd.ZstdDecompressor().decompress, small))
        rate = {"work": LARGE / 1e6, "unit": "Mweights/s", "turns": turns}
        name = f"{LARGE:,} weights, {sparsity:.0%}, K = 16"
        yield from run.against(
            f"encode {name}", partial(body, piece), packers, goal=at_least(40, "ours"), **rate
        )
        run.profile(f"decode {name}", decoded_parts(record, coded))
        yield from run.against(
            f"decode {name}",
            partial(decode, record, coded),
            readers,
            goal=at_least(100, "ours"),
            **rate,
        )


def decoded_parts(record: Record, coded: bytes) -> dict[str, Callable[[], Any]]:
    """Return a decode, and the coder's part of it."""
    from audioprune.packing.entropy import Reader
    from audioprune.packing.positions import read_positions

    return {
        "whole": partial(decode, record, coded),
        "positions": lambda: read_positions(Reader(coded[: record.coded]), record.shape),
    }


ITEM = Item(
    title="Packed tensors",
    about="Bytes of a pruned and clustered tensor beside the entropy of independent positions and "
    "codes, Deep Compression's gaps with Huffman codes, and general compressors (the better of a "
    "byte a weight, and mask and codes packed to bits; a codebook of 32 bits a value is added). "
    "Rates count all weights, kept or not; decoding gives the tensor itself, zstd bytes of codes.",
    rows=rows,
    why="Each pair of row and column classes has its own density and frequency table, which is "
    "where trained masks save most: pruning empties some units more than others. Neighbouring "
    "positions are not looked at. Decoding spends most of its time in the entropy decoder, "
    "one symbol after the other, and in moving the kept values to their places. Encoding also "
    "tries every number of classes, twice for positions and codes, and compares what it packs "
    "with its codebook; these passes over all weights take longer than the coder.",
    order=20,
)
