"""Losses, one per file: from logits, cosines or embeddings, and targets, to the loss of each sample, (B,).

A loss that is defined over the whole batch (`whole_batch` in its row of LOSSES) returns float32 (B,) too: shares whose
mean is the loss, so a sample's share depends on the other samples.
"""
