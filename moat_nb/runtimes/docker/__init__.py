"""Docker Engine, and Podman, over their socket."""
