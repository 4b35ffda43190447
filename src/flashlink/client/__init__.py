"""A client of any interLink plugin: manifests to requests, as the virtual kubelet makes them, and the calls."""
