"""The demo on MySQL or MariaDB: a server of its own, a shop on it, and a DELETE that had no WHERE."""
