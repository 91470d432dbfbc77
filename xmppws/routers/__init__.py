"""Implementations of seam 1, `core.router.Router`."""
