"""Models pretrained on logged data: the slate VAE and matrix factorisation."""
