"""Optimizers of timm that no training here can use."""

_GENERATOR = "it keeps a random generator of its own, which no checkpoint holds, so a resumed training would differ"

# By their name in timm.
UNFIT_OPTIMIZERS = {
    "adahessian": "it needs second derivatives, and training computes first ones",
    "kron": _GENERATOR,
    "kronc": _GENERATOR,
    "kronw": _GENERATOR,
}
