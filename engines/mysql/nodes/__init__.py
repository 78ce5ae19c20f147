"""The other servers that a restore reaches: members of a cluster, and replicas."""
