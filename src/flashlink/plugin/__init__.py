"""The service: REST routes, the life of a pod, its books, logs and metrics."""
