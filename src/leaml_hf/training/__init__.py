"""Training: the trainer, its objectives, the cache of frozen features, and pre-training of a base."""
