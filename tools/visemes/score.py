"""Figures on the held-out voice, at the network's 100 Hz."""

import numpy as np

from . import network


def report(weights, held_out):
    x, y, _ = held_out
    out = network.outputs(weights, x)
    speech = y[:, 4] > 0.5
    print(f"opening: correlation {_correlation(out[:, 0], y[:, 0]):.3f}")
    print(f"width in speech: correlation {_correlation(out[speech, 1], y[speech, 1]):.3f}")
    print(f"teeth: correlation {_correlation(out[:, 2], y[:, 2]):.3f}")
    spread, rounded = y[:, 1] > 0.45, y[:, 1] < -0.45
    print(f"spread against rounded: AUC {auc(out[spread & speech, 1], out[rounded & speech, 1]):.3f}")
    true, found = y[:, 3] > 0.6, out[:, 3] > 0.5
    closures = _runs(true)
    hits = sum(found[max(0, a - 2) : b + 2].any() for a, b in closures)
    calls = _runs(found)
    right = sum(true[max(0, a - 3) : b + 3].any() for a, b in calls)
    print(f"closures: {hits / len(closures):.3f} of {len(closures)} found, {right / max(1, len(calls)):.3f} of calls right")
    print(f"opening where nothing is said: mean {out[y[:, 0] < 0.01, 0].mean():.4f}; in speech {out[speech, 0].mean():.3f}")
    print(f"speech against none: AUC {auc(out[speech, 4], out[~speech, 4]):.3f}")


def _runs(flags):
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]])))
    return list(zip(edges[::2], edges[1::2]))


def _correlation(a, b):
    return float(np.corrcoef(a, b)[0, 1])


def auc(high, low):
    """How often a value of `high` exceeds one of `low`."""
    ranks = np.argsort(np.argsort(np.concatenate([high, low]), kind="stable"), kind="stable")
    return float((ranks[: len(high)].sum() - len(high) * (len(high) - 1) / 2) / (len(high) * len(low)))
