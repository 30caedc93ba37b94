"""The words of Kubernetes for a pod that was ended from outside, whatever runs in it."""

EVICTED = "Evicted"
BY_NODE = (EVICTED, "Preempting", "NodeLost", "Shutdown", "Terminated")
"""status.reason of a pod that its node ended."""

FORGOTTEN = ("ContainerStatusUnknown", "Unknown")
"""A container's reason when its node does not know how it ended: the code (137 or 255) is not the program's."""
