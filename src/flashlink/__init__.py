"""flashlink: offload the steps of a Flash Simulation, as Kubernetes pods, to the batch systems of physics."""

__version__ = "0.1.0"
