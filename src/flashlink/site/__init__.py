"""What a site is: its batch system, container runtime, images, volumes and limits."""
