"""The moments at which a writer may be stopped, by name, so that tests can stop one at each of them."""


def reached(step: str) -> None:
    """Called at every such moment; does nothing."""
