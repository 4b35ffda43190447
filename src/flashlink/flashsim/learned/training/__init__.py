"""The training of `flashlink.flashsim.learned`, with jax, optax and onnx: flashlink[train]."""
