"""The Flash Simulation: generated particles in, reconstructed ones out; and the reference detector it learns from."""
