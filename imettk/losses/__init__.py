"""One loss a file. A loss takes logits, cosines or embeddings, and targets; it gives the loss of each sample, (B,).

A loss that is defined over the batch as a whole, `whole_batch` in its row of LOSSES, gives float32 (B,) too: shares
whose mean is the loss, so that a share depends on the other samples.
"""
