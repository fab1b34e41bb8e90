"""Networks: a backbone, a head, and pretrained weights."""
