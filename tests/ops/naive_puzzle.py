"""Puzzle Mix's energy, block by block and border by border: what :func:`openmix.ops.puzzle.puzzle_energy` must be."""

import math

import torch


def naive_puzzle_energy(own, partner, saliency, partner_saliency, lam, *, n, n_labels, beta, gamma, eta, neigh):
    """The unaries (n, n, L), weights to the right (n, n - 1) and down (n - 1, n) of one pair, in float64.

    own, partner: (C, S, S) in [0, 1]; saliency, partner_saliency: (S, S) with a sum above 0; lam: a float in (0, 1).
    Label l shows l / (L - 1) of the own image.
    """
    side = own.shape[1] // n
    square = min(neigh, side)
    facing = side // square
    rate = beta / (16 * n)
    image = {1: own.double(), 0: partner.double()}
    given_up = {1: _block_means(partner_saliency, n, side), 0: _block_means(saliency, n, side)}
    whole = {key: sum(sum(row) for row in blocks) for key, blocks in given_up.items()}
    # the energy is a z + b (1 - z) for each block, and w (z - z')^2 for each border, z in [0, 1]
    a, b = ([[given_up[key][i][j] / whole[key] for j in range(n)] for i in range(n)] for key in (1, 0))
    right = torch.zeros(n, n - 1, dtype=torch.float64)
    down = torch.zeros(n - 1, n, dtype=torch.float64)
    for i in range(n):
        for j in range(n):
            for k, m, weights in ((i, j + 1, right), (i + 1, j, down)):
                if k == n or m == n:
                    continue
                phi = {}
                for first in (0, 1):
                    for second in (0, 1):
                        total = 0.0
                        for s in range(facing):
                            # the last squares of the block before the border, the first of the block behind it
                            if m > j:
                                y, y2 = (i * side + s * square,) * 2
                                x, x2 = (j + 1) * side - square, m * side
                            else:
                                x, x2 = (j * side + s * square,) * 2
                                y, y2 = (i + 1) * side - square, k * side
                            one = image[first][:, y : y + square, x : x + square].mean((1, 2))
                            other = image[second][:, y2 : y2 + square, x2 : x2 + square].mean((1, 2))
                            total += float((one - other).abs().mean())
                        phi[first, second] = rate * gamma * total / facing
                a[i][j] += (phi[1, 1] + phi[1, 0]) / 2
                b[i][j] += (phi[0, 0] + phi[0, 1]) / 2
                a[k][m] += (phi[1, 1] + phi[0, 1]) / 2
                b[k][m] += (phi[0, 0] + phi[1, 0]) / 2
                weights[i, j] = rate + (phi[1, 0] + phi[0, 1] - phi[1, 1] - phi[0, 0]) / 2
    unary = torch.zeros(n, n, n_labels, dtype=torch.float64)
    for i in range(n):
        for j in range(n):
            for label in range(n_labels):
                z, trials = label / (n_labels - 1), n_labels - 1
                chance = math.comb(trials, label) * lam**label * (1 - lam) ** (trials - label)
                unary[i, j, label] = z * a[i][j] + (1 - z) * b[i][j] - eta / n**2 * math.log(chance + 1e-8)
    return unary, right, down


def _block_means(saliency, n, side):
    blocks = [[saliency[i * side : (i + 1) * side, j * side : (j + 1) * side] for j in range(n)] for i in range(n)]
    return [[float(block.double().mean()) for block in row] for row in blocks]
